import assert from 'node:assert/strict';
import { readFile, appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { parseLogLine } from '../../../../../controllers/node-agent/logs/log-line.ts';
import { parseLogOptions } from '../../../../../controllers/node-agent/logs/log-options.ts';
import { readLog } from '../../../../../controllers/node-agent/logs/read-log.ts';
import { rotateLog } from '../../../../../controllers/node-agent/logs/rotate-log.ts';

const NONE = { follow: false, previous: false, timestamps: false };
const line = (index: number, text: string, tag = 'F'): string =>
  `2026-11-23T12:00:${String(index % 60).padStart(2, '0')}.000000001Z stdout ${tag} ${text}\n`;

async function folder(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'windlass-log-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function read(directory: string, options: object = {}): Promise<string> {
  const chunks: Buffer[] = [];
  const source = { directory, attempt: 0, isRunning: () => false };
  for await (const chunk of readLog(source, { ...NONE, ...options }, AbortSignal.timeout(5000))) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

test('readLog() joins parts, skips torn lines and puts time stamps before whole lines', async (t) => {
  const directory = await folder(t);
  await writeFile(join(directory, '0.log'), `torn\n${line(1, 'a', 'P')}${line(2, 'b')}${line(3, 'c')}`);
  assert.equal(await read(directory), 'ab\nc\n');
  assert.equal(
    await read(directory, { timestamps: true }),
    '2026-11-23T12:00:01.000000001Z ab\n2026-11-23T12:00:03.000000001Z c\n',
  );
  assert.equal(await read(directory, { sinceMs: Date.parse('2026-11-23T12:00:03Z') }), 'c\n');
  assert.equal(await read(directory, { limitBytes: 4 }), 'ab\nc');
});

test('readLog() tails across blocks and rotated files', async (t) => {
  const directory = await folder(t);
  const many = Array.from({ length: 20_000 }, (_, index) => line(index, `line ${index}`));
  await writeFile(join(directory, '0.log.20261123-110000'), many.slice(0, 10_000).join(''));
  await writeFile(join(directory, '0.log'), many.slice(10_000).join(''));
  assert.equal(await read(directory, { tailLines: 0 }), '');
  assert.equal(await read(directory, { tailLines: 2 }), 'line 19998\nline 19999\n');
  assert.equal((await read(directory, { tailLines: 9_000 })).split('\n').length, 9_001);
  const over = await read(directory, { tailLines: 10_001 });
  assert.ok(over.startsWith('line 9999\nline 10000\n'));
  assert.equal((await read(directory)).split('\n').length, 20_001);
});

test('readLog() follows across a rotation and ends when nothing can come any more', async (t) => {
  const directory = await folder(t);
  const path = join(directory, '0.log');
  await writeFile(path, line(0, 'first'));
  let isRunning = true;
  const source = { directory, attempt: 0, isRunning: () => isRunning };
  const seen: string[] = [];
  for await (const chunk of readLog(source, { ...NONE, follow: true }, AbortSignal.timeout(10_000))) {
    const text = chunk.toString();
    seen.push(text);
    if (text.includes('first')) {
      await appendFile(path, line(1, 'second'));
      await rename(path, `${path}.20261123-120000`);
      await writeFile(path, line(2, 'third'));
    }
    if (text.includes('third')) {
      await appendFile(path, line(3, 'last'));
      isRunning = false;
    }
  }
  assert.equal(seen.join(''), 'first\nsecond\nthird\nlast\n');
});

test('readLog() ends with the container, not at its next look', async (t) => {
  const directory = await folder(t);
  await writeFile(join(directory, '0.log'), line(0, 'only'));
  let isRunning = true;
  let onChange = (): void => undefined;
  const source = {
    ...{ directory, attempt: 0, isRunning: () => isRunning },
    subscribe: (listener: () => void) => {
      onChange = listener;
      return () => undefined;
    },
  };
  let endedAt = 0;
  for await (const _ of readLog(source, { ...NONE, follow: true }, AbortSignal.timeout(10_000))) {
    setTimeout(() => {
      isRunning = false;
      endedAt = performance.now();
      onChange();
    }, 50);
  }
  assert.ok(performance.now() - endedAt < 300);
});

test('rotateLog() renames, reopens and drops the oldest; gives the name back when reopening fails', async (t) => {
  const directory = await folder(t);
  const path = join(directory, '0.log');
  for (const name of ['0.log.20200101-000000', '0.log.20210101-000000']) await writeFile(join(directory, name), 'old');
  await writeFile(path, 'x'.repeat(100));
  const limits = { maxSizeBytes: 100, maxFiles: 2 };
  await assert.rejects(
    rotateLog(path, 0, limits, () => Promise.reject(new Error('away')), 0),
    /away/,
  );
  assert.equal(await rotateLog(path, 0, limits, () => writeFile(path, ''), Date.parse('2026-11-23T12:00:00Z')), true);
  assert.equal(await rotateLog(path, 0, limits, () => Promise.reject(new Error('not called')), 0), false);
  const { listAttemptFiles } = await import('../../../../../controllers/node-agent/logs/log-files.ts');
  assert.deepEqual(
    (await listAttemptFiles(directory, 0)).map((file) => file.slice(directory.length + 1)),
    ['0.log.20261123-120000000', '0.log'],
  );
});

test('rotateLog() has a log that was deleted opened again', async (t) => {
  const path = join(await folder(t), '0.log');
  const limits = { maxSizeBytes: 100, maxFiles: 2 };
  assert.equal(await rotateLog(path, 0, limits, () => writeFile(path, ''), 0), false);
  assert.equal(await readFile(path, 'utf8'), '');
});

test('parseLogOptions() refuses what can never be meant', () => {
  const parse = (query: string) => parseLogOptions(new URLSearchParams(query), 100_000);
  assert.deepEqual(parse('follow=true&tailLines=5&sinceSeconds=10'), {
    follow: true,
    previous: false,
    timestamps: false,
    tailLines: 5,
    sinceMs: 90_000,
  });
  assert.equal(parse('tailLines=-1').tailLines, undefined);
  for (const bad of [
    'tailLines=x',
    'tailLines=-2',
    'limitBytes=0',
    'sinceTime=yesterday',
    'follow=maybe',
    'sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z',
  ]) {
    assert.throws(() => parse(bad), { reason: 'BadRequest' }, bad);
  }
});

test('parseLogLine() takes only lines of the format', () => {
  assert.equal(parseLogLine(Buffer.from('2026-11-23T12:00:00Z stderr F '))?.content.length, 0);
  for (const bad of ['', 'x', '2026-11-23T12:00:00Z stdin F x', 'now stdout F x', '2026-11-23T12:00:00Z stdout Q x']) {
    assert.equal(parseLogLine(Buffer.from(bad)), undefined, bad);
  }
});
