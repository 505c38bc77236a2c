// Which congestion controller a connection gets.

import { createBbr } from './bbr.ts';
import type { CongestionController, CongestionName } from './congestion.ts';
import { createCubic } from './cubic.ts';
import { createNewReno } from './newreno.ts';

/** A new controller for segments of `mss` bytes. */
export function createController(name: CongestionName, mss: number): CongestionController {
  switch (name) {
    case 'cubic':
      return createCubic(mss);
    case 'newreno':
      return createNewReno(mss);
    case 'bbr':
      return createBbr(mss);
  }
}
