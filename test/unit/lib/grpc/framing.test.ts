import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createFrameReader, encodeFrame } from '../../../../lib/grpc/framing.ts';
import { decodeTimeout, encodeTimeout, failureTrailers, readTrailers } from '../../../../lib/grpc/headers.ts';

test('createFrameReader() finds the messages however the bytes are cut', () => {
  const messages = ['', 'a', 'x'.repeat(300), 'end'].map((text) => Buffer.from(text));
  const bytes = Buffer.concat(messages.map(encodeFrame));
  for (const size of [1, 2, 5, 7, 100, bytes.length]) {
    const reader = createFrameReader(1000, 12);
    const seen: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += size) seen.push(...reader.push(bytes.subarray(at, at + size)));
    assert.deepEqual(seen.map(String), messages.map(String));
    assert.equal(reader.isWithinFrame(), false);
  }
});

test('createFrameReader() refuses what is too long by its prefix, and what is compressed', () => {
  assert.throws(() => createFrameReader(10, 12).push(Buffer.of(0, 0, 0, 0, 11)), { code: 8 });
  for (const code of [12, 13])
    assert.throws(() => createFrameReader(10, code).push(Buffer.of(1, 0, 0, 0, 1)), { code });
});

test('timeouts keep to eight digits and never get shorter', () => {
  assert.deepEqual([250, 0.2, 1e8, 3.6e9].map(encodeTimeout), ['250m', '1m', '100000S', '3600000S']);
  const decoded = ['250m', '3S', '2M', '1H', '5000u', '123456789m', '1x', undefined].map(decodeTimeout);
  assert.deepEqual(decoded, [250, 3000, 120_000, 3_600_000, 5, undefined, undefined, undefined]);
});

test('messages of a failure pass through headers whatever they hold', () => {
  const failure = { code: 5, message: 'zeile 1\nzeile 2: 100 % größer 🐳', reason: 'NotFound' };
  const trailers = failureTrailers(failure);
  assert.match(String(trailers['grpc-message']), /^[ -~]*$/);
  assert.deepEqual(readTrailers(trailers as Record<string, string>), failure);
  const long = failureTrailers({ code: 5, message: `container ${'x'.repeat(1e6)} does not exist` });
  assert.ok(String(long['grpc-message']).length < 5000);
  assert.equal(readTrailers({ 'grpc-status': '0' }), undefined);
  assert.equal(readTrailers({})?.code, 14);
});
