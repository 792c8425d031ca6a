// Layers that were made here instead of unpacked, and what keeps them.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createRegistryClient } from '../../../oci/distribution/create-registry-client.ts';
import { digestOf } from '../../../oci/digest.ts';
import { silentLogger } from '../../../lib/log.ts';
import { createLayerFiles } from '../../../runtime-shim/host/layer-files.ts';
import { openImageParts } from '../../../runtime-shim/images/create-image-service.ts';
import { kernelMounts } from '../../../runtime-shim/snapshots/overlay-mounts.ts';
import { createUnpackPool } from '../../../runtime-shim/snapshots/unpack-pool.ts';
import { requireRoot } from '../../support/require.ts';

const ABOUT = { usedBytes: 1, inodes: 1, isRootOpaque: false };
const CHAIN = digestOf('a chain');

async function openParts(t: TestContext) {
  const home = mkdtempSync(join(tmpdir(), 'windlass-images-'));
  const pool = createUnpackPool(1);
  const registry = createRegistryClient({ registries: { registries: {} } });
  t.after(async () => {
    await registry.close();
    await pool[Symbol.asyncDispose]();
    rmSync(home, { recursive: true, force: true });
  });
  const { service, parts } = openImageParts({
    ...{ contentDir: join(home, 'content'), snapshotsDir: join(home, 'snapshots') },
    ...{ registry, pool, mounts: kernelMounts, files: createLayerFiles(), log: silentLogger() },
  });
  await service.recover();
  const made = (name: string): string => {
    const folder = join(home, 'snapshots', name);
    mkdirSync(folder);
    writeFileSync(join(folder, 'file'), name);
    return folder;
  };
  return { service, parts, made };
}

test('a folder becomes a layer by its name; a second one of the same chain is thrown away', async (t) => {
  if (!requireRoot(t)) return;
  const { parts, made } = await openParts(t);
  using lease = parts.leases.open();
  lease.protect(CHAIN);
  const [first, second] = [made('first'), made('second')];
  await Promise.all([parts.layers.adopt(CHAIN, first, ABOUT), parts.layers.adopt(CHAIN, second, ABOUT)]);
  assert.ok(!existsSync(first) && !existsSync(second));
  const [lower = ''] = parts.layers.lowerDirs([CHAIN]);
  assert.match(readFileSync(join(lower, 'file'), 'utf8'), /^(first|second)$/);
  await parts.layers.adopt(CHAIN, made('third'), ABOUT);
  assert.match(readFileSync(join(lower, 'file'), 'utf8'), /^(first|second)$/);
});

test('what others keep is not collected; what they let go is', async (t) => {
  if (!requireRoot(t)) return;
  const { parts, made } = await openParts(t);
  let isKept = true;
  const blob = await parts.store.put(Buffer.from('kept'));
  parts.keep({
    hasBlob: (digest) => isKept && digest === blob,
    hasLayer: (chainId) => isKept && chainId === CHAIN,
  });
  await parts.layers.adopt(CHAIN, made('layer'), ABOUT);
  await parts.collect();
  assert.ok(parts.store.has(blob) && parts.layers.has(CHAIN));
  isKept = false;
  await parts.collect();
  assert.ok(!parts.store.has(blob) && !parts.layers.has(CHAIN));
});
