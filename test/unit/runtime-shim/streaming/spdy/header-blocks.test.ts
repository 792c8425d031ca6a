import assert from 'node:assert/strict';
import { test } from 'node:test';
import { constants, createDeflate, createInflate, deflateSync, type Zlib } from 'node:zlib';
import { DICTIONARY, DICTIONARY_ID } from '../../../../../runtime-shim/streaming/spdy/dictionary.ts';
import { SpdyError } from '../../../../../runtime-shim/streaming/spdy/frames.ts';
import { createHeaderReader, createHeaderWriter } from '../../../../../runtime-shim/streaming/spdy/header-blocks.ts';

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function block(fields: readonly (readonly [string, string])[]): Buffer {
  const texts = fields.flat().map((text) => Buffer.concat([uint32(Buffer.byteLength(text)), Buffer.from(text)]));
  return Buffer.concat([uint32(fields.length), ...texts]);
}

/** What a peer's zlib stream gives for one more write and a sync flush. */
async function pass(
  stream: (NodeJS.ReadWriteStream & Zlib) | ReturnType<typeof createDeflate>,
  data: Buffer,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  const collect = (chunk: Buffer): void => void parts.push(chunk);
  stream.on('data', collect);
  stream.write(data);
  await new Promise<void>((resolve) => stream.flush(constants.Z_SYNC_FLUSH, () => setImmediate(resolve)));
  stream.off('data', collect);
  return Buffer.concat(parts);
}

test('DICTIONARY has the length and the Adler-32 sum of the specification', () => {
  assert.equal(DICTIONARY.length, 1423);
  assert.equal(deflateSync('', { dictionary: DICTIONARY }).readUInt32BE(2), DICTIONARY_ID);
});

test('createHeaderReader() follows a compressed stream over its blocks', async () => {
  const deflate = createDeflate({ dictionary: DICTIONARY, level: 9 });
  const reader = createHeaderReader();
  for (const fields of [
    [['streamtype', 'error']],
    [['streamtype', 'stdin']],
    [
      ['streamtype', 'data'],
      ['port', '8080'],
      ['requestid', '17'],
    ],
    [],
  ] as const) {
    assert.deepEqual([...reader.read(await pass(deflate, block(fields)))], fields);
  }
  deflate.destroy();
});

test('createHeaderReader() looks back over more than one window', async () => {
  const deflate = createDeflate({ dictionary: DICTIONARY });
  const reader = createHeaderReader();
  for (let index = 0; index < 8; index += 1) {
    const fields = [['x', `${String(index).repeat(3000)}${'abcdefgh'.repeat(1000)}`]] as const;
    assert.deepEqual([...reader.read(await pass(deflate, block(fields)))], fields);
  }
  deflate.destroy();
});

test('createHeaderWriter() writes blocks that any inflater reads, flushed one by one', async () => {
  const writer = createHeaderWriter();
  const inflate = createInflate({ dictionary: DICTIONARY });
  for (const fields of [[], [['status', '200']], [['a', 'b']]] as const) {
    assert.deepEqual(await pass(inflate, writer.write(new Map(fields))), block(fields));
  }
  inflate.destroy();
});

test('createHeaderWriter() writes these bytes for no headers', () => {
  const writer = createHeaderWriter();
  assert.equal(writer.write(new Map()).toString('hex'), '78bbe3c6a7c2' + '000400fbff00000000' + '000000ffff');
  assert.equal(writer.write(new Map()).toString('hex'), '000400fbff00000000' + '000000ffff');
});

test('SPDY header bomb: a block that inflates beyond the limit is refused without inflating it', () => {
  const bomb = deflateSync(Buffer.alloc(64 * 1024 * 1024), {
    dictionary: DICTIONARY,
    finishFlush: constants.Z_SYNC_FLUSH,
  });
  assert.ok(bomb.length < 128 * 1024);
  const before = process.memoryUsage().arrayBuffers;
  assert.throws(() => createHeaderReader().read(bomb), SpdyError);
  assert.ok(process.memoryUsage().arrayBuffers - before < 1024 * 1024);
});

const compressed = (plain: Buffer): Buffer =>
  deflateSync(plain, { dictionary: DICTIONARY, finishFlush: constants.Z_SYNC_FLUSH });
for (const [name, bytes] of Object.entries({
  'no zlib stream': Buffer.from('hello, world'),
  'an empty block': Buffer.alloc(0),
  'another dictionary': deflateSync(block([]), { dictionary: Buffer.from('x') }),
  'damaged bytes': Buffer.concat([compressed(block([])).subarray(0, 6), Buffer.alloc(20, 0xff)]),
  'a count without headers': compressed(uint32(5)),
  'too many headers': compressed(uint32(0xffffffff)),
  'a name longer than the block': compressed(Buffer.concat([uint32(1), uint32(0xfffffff0)])),
  'a header twice': compressed(block([['a', '1'] as const, ['a', '2'] as const])),
  'an upper-case name': compressed(block([['StreamType', 'error']])),
  'an empty name': compressed(block([['', 'x']])),
})) {
  test(`createHeaderReader() refuses ${name}`, () => {
    assert.throws(() => createHeaderReader().read(bytes), SpdyError);
  });
}
