import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { createRedactor } from '../../../../builder/run/redactor.ts';
import { createStepOutput } from '../../../../builder/run/step-output.ts';

async function linesOf(chunks: readonly (string | Buffer)[], secrets: readonly string[] = []): Promise<string[]> {
  const lines: string[] = [];
  const redact = createRedactor(secrets.map((text) => Buffer.from(text)));
  const output = createStepOutput(redact, (line) => void lines.push(line));
  await output.read(Readable.from(chunks.map((chunk) => Buffer.from(chunk))));
  return lines;
}

test('createStepOutput() gives every line once, however it arrives', async () => {
  assert.deepEqual(await linesOf([]), []);
  assert.deepEqual(await linesOf(['']), []);
  assert.deepEqual(await linesOf(['\n']), ['']);
  assert.deepEqual(await linesOf(['a', 'b\nc', '\n', '\nd']), ['ab', 'c', '', 'd']);
});

test('createStepOutput() keeps characters whole that arrive in pieces', async () => {
  const bytes = Buffer.from('grüße\n');
  assert.deepEqual(await linesOf([...bytes].map((byte) => Buffer.of(byte))), ['grüße']);
  assert.deepEqual(await linesOf([Buffer.of(0xc3)]), ['\ufffd']);
});

test('createStepOutput() cuts long lines into pieces, none of which is lost', async () => {
  const long = 'x'.repeat(50_000);
  for (const chunks of [[`${long}\nend`], [long, '\nend'], ['x'.repeat(20_000), 'x'.repeat(30_000), '\nend']]) {
    const lines = await linesOf(chunks);
    assert.equal(lines.at(-1), 'end');
    assert.equal(lines.slice(0, -1).join(''), long);
    assert.ok(lines.every((line) => line.length <= 16 * 1024));
  }
});

test('createStepOutput() hides secrets line by line, also where a line is cut or arrives in pieces', async () => {
  const secret = 'first-line-of-it\r\nsecond-line\nab\n';
  assert.deepEqual(await linesOf(['x first-li', 'ne-of-it y\nsecond-line\nab\n'], [secret]), ['x *** y', '***', 'ab']);
  for (let before = 16_370; before < 16_400; before += 1) {
    const filler = 'x'.repeat(before);
    for (const chunks of [
      [`${filler}first-line-of-it${filler}\n`],
      [`${filler}first-`, `line-of-it${filler}`, '\n'],
      [`${filler}first-line-of-i`, 't', filler],
    ]) {
      assert.equal((await linesOf(chunks, [secret])).join(''), `${filler}***${filler}`);
    }
  }
});

test('createStepOutput() keeps the last lines, a bounded part of them', async () => {
  const output = createStepOutput(createRedactor([]), () => undefined);
  await output.read(Readable.from(Array.from({ length: 100 }, (_, index) => Buffer.from(`${index}\n`))));
  assert.deepEqual(
    output.tail(),
    Array.from({ length: 20 }, (_, index) => String(index + 80)),
  );
  await output.read(Readable.from([Buffer.from(`${'y'.repeat(100_000)}\n`)]));
  assert.ok(output.tail().join('').length <= 8 * 1024);
});

test('createStepOutput() waits for whoever takes the lines, and fails with them', async () => {
  let open = 0;
  const output = createStepOutput(createRedactor([]), async () => {
    open += 1;
    assert.equal(open, 1);
    await Promise.resolve();
    open -= 1;
  });
  await output.read(Readable.from([Buffer.from('a\nb\nc')]));
  const failing = createStepOutput(createRedactor([]), () => Promise.reject(new Error('full')));
  await assert.rejects(failing.read(Readable.from([Buffer.from('a\n')])), /full/);
});
