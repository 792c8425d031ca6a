import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import type { ClientStreams, SessionEnd } from '../../../../runtime-shim/streaming/client-streams.ts';
import type { ExecProcess } from '../../../../runtime-shim/streaming/exec-process.ts';
import { serveExec } from '../../../../runtime-shim/streaming/exec-session.ts';

function makeClient(): { client: ClientStreams; text: () => string; end: () => SessionEnd | undefined } {
  const stdout = new PassThrough();
  let [text, end] = ['', undefined as SessionEnd | undefined];
  stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const client: ClientStreams = {
    ...{ stdin: undefined, stdout, stderr: undefined },
    onResize: () => undefined,
    closed: new Promise(() => undefined),
    finish: async (reached) => {
      end = reached;
    },
    destroy: () => undefined,
  };
  return { client, text: () => text, end: () => end };
}

test('serveExec() keeps the last words of a program that was silent for long', async () => {
  const stdout = new PassThrough();
  let isEnded = false;
  const child: ExecProcess = {
    ...{ stdin: undefined, stdout, stderr: undefined },
    exited: Promise.resolve({ code: 0, signal: undefined }),
    resize: () => undefined,
    kill: () => undefined,
    hasProgramEnded: () => isEnded,
    dispose: () => undefined,
  };
  const { client, text, end } = makeClient();
  const serving = serveExec(client, false, () => child);
  // Longer than output may be silent after the end, and nothing has been read when the end is first seen.
  setTimeout(() => {
    isEnded = true;
    setTimeout(() => stdout.end('last words'), 400);
  }, 1_300);
  await serving;
  assert.equal(text(), 'last words');
  assert.deepEqual(end(), { kind: 'exit', code: 0 });
});

test('serveExec() tells a client why its program could not be started', async () => {
  const { client, end } = makeClient();
  await serveExec(client, false, () => {
    throw new Error('no such container');
  });
  assert.deepEqual(end(), { kind: 'failure', message: 'no such container' });
});
