// The table of commands, in the order that the help shows them. A new command is one file and one line here.

import { arpingCommand } from './arping.ts';
import type { MakeCommand } from './command.ts';
import { dissectCommand } from './dissect.ts';
import { drillCommand } from './drill.ts';
import { getCommand } from './get.ts';
import { ncCommand } from './nc.ts';
import { pingCommand } from './ping.ts';
import { upCommand } from './up.ts';
import { wireCommand } from './wire.ts';

export const COMMANDS: readonly MakeCommand[] = [
  upCommand,
  pingCommand,
  arpingCommand,
  ncCommand,
  getCommand,
  dissectCommand,
  drillCommand,
  wireCommand,
];
