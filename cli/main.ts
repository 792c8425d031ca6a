// The `windlass` command: finds the sub-command, turns its failure into one line on stderr and an exit code.
import { isAbort, messageOf } from '../lib/errors.ts';
import { commands } from './commands.ts';
import { exitCodeOf, EXIT } from './exit-codes.ts';
import { renderCommandHelp, renderHelp, suggestCommand } from './help.ts';
import { createOutput } from './output.ts';

const output = createOutput({ stdout: process.stdout, stderr: process.stderr, env: process.env });
// A log on a full disk, or a reader that left, must not end what `up` keeps running.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
const stop = new AbortController();
// SIGHUP too: a terminal that is closed must not leave components behind that nobody supervises.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    // A second signal means now.
    if (stop.signal.aborted) process.exit(130);
    stop.abort();
  });
}

const [name = 'help', ...argv] = process.argv.slice(2);
const command = commands.find((candidate) => candidate.name === name);
try {
  if (name === 'help' || name === '--help' || name === '-h') {
    const [word] = argv.filter((each) => !each.startsWith('-'));
    const topic = commands.find((candidate) => candidate.name === word);
    if (word !== undefined && !topic) failUnknown(word);
    else output.print(topic ? renderCommandHelp(topic) : renderHelp(commands));
  } else if (name === '--version') {
    process.exitCode =
      (await commands
        .find((candidate) => candidate.name === 'version')
        ?.run({ argv: [], env: process.env, output, signal: stop.signal })) ?? 1;
  } else if (!command) {
    failUnknown(name);
  } else if (argv.includes('--help') || argv.includes('-h')) {
    output.print(renderCommandHelp(command));
  } else {
    process.exitCode = await command.run({ argv, env: process.env, output, signal: stop.signal });
  }
} catch (error) {
  if (isAbort(error) && stop.signal.aborted) {
    process.exitCode = 130;
  } else {
    process.exitCode = exitCodeOf(error);
    const hint = process.exitCode === EXIT.usage && command ? `; see windlass ${command.name} --help` : '';
    output.fail(`${messageOf(error)}${hint}`);
  }
}

function failUnknown(word: string): void {
  const suggestion = suggestCommand(word, commands);
  const meant = suggestion ? `: did you mean ${JSON.stringify(suggestion)}?` : '';
  output.fail(`unknown command ${JSON.stringify(word)}${meant}; see windlass --help`);
  process.exitCode = EXIT.usage;
}
