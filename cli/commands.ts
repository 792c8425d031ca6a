import type { Command } from './command.ts';
import { doctorCommand } from './commands/doctor.ts';
import { downCommand } from './commands/down.ts';
import { logsCommand } from './commands/logs.ts';
import { nodeCommand } from './commands/node.ts';
import { recoverCommand } from './commands/recover.ts';
import { registryCommand } from './commands/registry.ts';
import { serverCommand } from './commands/server.ts';
import { tokenCommand } from './commands/token.ts';
import { upCommand } from './commands/up.ts';
import { uploadCommand } from './commands/upload.ts';
import { versionCommand } from './commands/version.ts';

/** Every sub-command, in the order in which the help shows them. */
export const commands: readonly Command[] = [
  upCommand,
  serverCommand,
  nodeCommand,
  tokenCommand,
  uploadCommand,
  logsCommand,
  registryCommand,
  downCommand,
  recoverCommand,
  doctorCommand,
  versionCommand,
];
