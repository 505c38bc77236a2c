// Two hosts on a wire in memory, for the tests of the Node face.

import { createWire, type WireOptions } from '../../src/node/wire.ts';

export async function wire(options: WireOptions = {}) {
  return createWire(options);
}
