import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { findArchive, keepArchives } from '../../../../../controllers/node-agent/archives/archives.ts';
import { prepareUploads, receiveArchive } from '../../../../../controllers/node-agent/archives/receive-archive.ts';
import { isArchiveHead } from '../../../../../controllers/node-agent/archives/tar-head.ts';
import { archiveName, type Archive } from '../../../../../crds/archive.ts';

const tar = execFileSync('tar', ['-C', import.meta.dirname, '-cf', '-', '.']);
const { signal } = new AbortController();

const digest = `sha256:${'a'.repeat(64)}`;
const archive = (nodes: string[]): Archive => ({
  ...{ apiVersion: 'windlass.dev/v1', kind: 'Archive', metadata: { name: archiveName(digest), namespace: 'shop' } },
  ...{ digest, sizeBytes: 1, nodes },
});
const deps = (items: Archive[], missing: string[] = []) => ({
  archives: {
    get: (namespace: string, name: string) =>
      items.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name),
    list: () => items,
  },
  runtime: { keepBlobs: async (digests: readonly string[]) => digests.filter((one) => missing.includes(one)) },
  nodeName: 'n1',
});

test('isArchiveHead() knows a tar, also a compressed or an empty one, from anything else', () => {
  const yes = [tar, gzipSync(tar), zstdCompressSync(tar), Buffer.alloc(1024)];
  assert.deepEqual(yes.map(isArchiveHead), [true, true, true, true]);
  const no = [Buffer.from('{"kind":"Archive"}'), Buffer.alloc(512, 'x'), tar.subarray(0, 100), Buffer.alloc(0)];
  assert.deepEqual(no.map(isArchiveHead), [false, false, false, false]);
});

test('findArchive() says which part is missing', async () => {
  const reasonOf = async (...given: Parameters<typeof deps>): Promise<string | undefined> =>
    (await findArchive(deps(...given), 'shop', digest))?.reason;
  assert.equal(await reasonOf([archive(['n1'])]), undefined);
  assert.equal(await reasonOf([]), 'ArchiveNotFound');
  assert.equal(await reasonOf([archive(['n2'])]), 'ArchiveNotOnNode');
  assert.equal(await reasonOf([archive(['n1'])], [digest]), 'ArchiveNotOnNode');
  assert.equal((await findArchive(deps([archive(['n1'])]), 'other', digest))?.reason, 'ArchiveNotFound');
  assert.deepEqual(await keepArchives(deps([archive(['n1']), archive(['n2'])], [digest])), [digest]);
});

test('receiveArchive() leaves nothing of what it does not take', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'windlass-uploads-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const uploads = join(root, 'uploads');
  prepareUploads(uploads);
  const taken: Buffer[] = [];
  const disk: { problem?: string } = {};
  const receiver = {
    runtime: { importBlob: async (path: string) => void taken.push(readFileSync(path)) },
    ...{ uploads, nodeName: 'n1', diskProblem: () => disk.problem },
  };
  const send = (...pieces: (Buffer | Error)[]) =>
    receiveArchive(
      receiver,
      (async function* () {
        for (const piece of pieces) {
          if (piece instanceof Error) throw piece;
          yield piece;
        }
      })() as never,
      signal,
    );
  const pieces = Array.from({ length: Math.ceil(tar.length / 100) }, (_, at) => tar.subarray(at * 100, at * 100 + 100));
  assert.equal((await send(...pieces)).sizeBytes, tar.length);
  assert.deepEqual(taken, [tar]);
  prepareUploads(uploads);
  await assert.rejects(send(tar, new Error('gone')), /gone/);
  await assert.rejects(send(), /the body is empty/);
  await assert.rejects(send(Buffer.alloc(2000, 'x')), /no tar/);
  disk.problem = 'the disk is nearly full';
  await assert.rejects(send(tar), /node "n1" takes no archive: the disk is nearly full/);
  assert.deepEqual(readdirSync(uploads), []);
});
