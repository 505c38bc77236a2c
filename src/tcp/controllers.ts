// Which congestion controller a connection gets.

import { createBbr } from './bbr.ts';
import type { CongestionController, CongestionName } from './congestion.ts';
import { createCubic } from './cubic.ts';
import { createNewReno } from './newreno.ts';

/** True for the name of a controller. */
export function isController(name: string): name is CongestionName {
  return name === 'cubic' || name === 'newreno' || name === 'bbr';
}

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
