// Five hundred random networks: every byte arrives once and in order, or the application is told; and nothing is left behind.

import { playSeeds } from './play.ts';

playSeeds(1, 500);
