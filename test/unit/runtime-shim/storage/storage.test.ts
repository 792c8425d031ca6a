import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diskShortage } from '../../../../lib/disk-reserve.ts';
import { Config, storageRules } from '../../../../runtime-shim/config.ts';
import { chooseVictim } from '../../../../runtime-shim/storage/choose-victim.ts';
import { describeExcess, layerLimitsOf } from '../../../../runtime-shim/storage/layer-limits.ts';

const BYTES = 'runtime.windlass.dev/ephemeral-storage';
const INODES = 'runtime.windlass.dev/ephemeral-inodes';

test('layerLimitsOf() takes the annotation, else the default; 0 lifts it, nonsense is refused', () => {
  const defaults = { bytes: 1000, inodes: 0 };
  const of = (annotations: Record<string, string>) => layerLimitsOf({ annotations }, defaults);
  assert.deepEqual(
    [of({}), of({ [BYTES]: '5', [INODES]: '6' }), of({ [BYTES]: '0' }), of({ [BYTES]: '' })],
    [{ bytes: 1000 }, { bytes: 5, inodes: 6 }, {}, { bytes: 1000 }],
  );
  for (const text of ['-1', '1Gi', '1e3', 'x']) assert.throws(() => of({ [BYTES]: text }), { reason: 'Invalid' });
});

test('describeExcess() names the limit that is exceeded', () => {
  const limits = { bytes: 10_000_000, inodes: 10 };
  assert.deepEqual(
    [
      describeExcess({ usedBytes: 10_000_000, inodes: 10 }, limits),
      describeExcess({ usedBytes: 12_000_000, inodes: 3 }, limits),
      describeExcess({ usedBytes: 1, inodes: 11 }, limits),
    ],
    [
      undefined,
      'its writable layer uses at least 12MB of 10MB (ephemeral-storage)',
      'its writable layer has at least 11 of 10 files and folders (inodes)',
    ],
  );
});

test('diskShortage() keeps 5 % for the node, up to a limit, of bytes and of inodes', () => {
  const disk = { blocks: 1000, bavail: 60, bsize: 1_000_000, files: 1000, ffree: 60 };
  const reserve = { maxBytes: 1e9 };
  const of = (change: object, maxBytes = reserve.maxBytes) => diskShortage({ ...disk, ...change }, { maxBytes });
  assert.equal(of({}), undefined);
  assert.deepEqual(of({ bavail: 30 }), {
    kind: 'bytes',
    missing: 20_000_000,
    message: '30MB of the disk are free, 50MB are kept for the node',
  });
  assert.deepEqual(of({ ffree: 40 }), {
    kind: 'inodes',
    missing: 10,
    message: '40 inodes of the disk are free, 50 are kept for the node',
  });
  assert.equal(of({ bavail: 30 }, 20_000_000), undefined, 'the limit is less');
  assert.equal(of({ bavail: 0, ffree: 0 }, 0), undefined, 'nothing is kept');
  assert.equal(of({ files: 0, ffree: 0 }), undefined, 'a file system without a number of inodes');
});

test('chooseVictim() takes the one with the most of what is short, if it is to blame', () => {
  const usages = new Map([
    ['bytes', { usedBytes: 900, inodes: 1 }],
    ['files', { usedBytes: 10, inodes: 500 }],
  ]);
  assert.equal(chooseVictim(usages, { kind: 'bytes', missing: 1000 }), 'bytes');
  assert.equal(chooseVictim(usages, { kind: 'inodes', missing: 1000 }), 'files');
  assert.equal(chooseVictim(usages, { kind: 'bytes', missing: 10_000 }), undefined);
  assert.equal(chooseVictim(new Map(), { kind: 'bytes', missing: 1 }), undefined);
});

test('flags about storage are quantities', () => {
  assert.deepEqual(storageRules(Config.parse({ ephemeralStorageLimit: '2Gi', diskReserve: '100Mi' })), {
    defaults: { bytes: 2 ** 31, inodes: 0 },
    reserve: { maxBytes: 100 * 2 ** 20 },
  });
  assert.deepEqual(storageRules(Config.parse({})).reserve, { maxBytes: 2 ** 30 });
  for (const text of ['-1', 'many']) assert.ok(!Config.safeParse({ diskReserve: text }).success);
});
