// Debian's buildah, rootful, on a storage of its own.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '../../../cli/preflight.ts';
import type { BaseImage } from '../../../test/support/build/base-images.ts';
import { writeDockerArchive } from '../../../test/support/images.ts';
import { makeRunFolder, PeerMissing, removeFolder } from '../../runtime/peer.ts';
import { pairs, runBuilder, type BuildPeer } from './peer.ts';

/** A storage with `images`. Throws PeerMissing. */
export async function startBuildah(images: readonly BaseImage[]): Promise<BuildPeer> {
  if (!findProgram('buildah', process.env['PATH'])) throw new PeerMissing('buildah is not installed');
  const folder = mkdtempSync(join(tmpdir(), 'windlass-bench-buildah-'));
  const run = makeRunFolder('buildah');
  const env = { ...process.env, TMPDIR: folder };
  const store = ['--root', join(folder, 'root'), '--runroot', run, '--storage-driver', 'overlay'];
  const buildah = (...args: string[]): Promise<string> => runBuilder('buildah', [...store, ...args], env);
  for (const { name, image } of images) {
    const path = join(folder, `${name}.tar`);
    // Short names are looked for under this host before any registry.
    writeDockerArchive(path, image, [`localhost/${name}:latest`]);
    await buildah('pull', '--quiet', `docker-archive:${path}`);
    rmSync(path);
  }
  return {
    id: 'buildah',
    version: (await buildah('--version')).trim().replace(/ \(.*/, ''),
    async build({ folder: context, dockerfile, target, args, labels, secrets = {}, noCache = false, tag }) {
      await buildah(
        ...['bud', '--tag', tag, '--file', join(context, dockerfile), '--format', 'docker', '--layers'],
        // crun refuses hosts that have a hybrid of the two cgroup versions.
        ...['--isolation', 'oci', '--runtime', 'runc', '--network', 'none', '--pull-never', '--identity-label=false'],
        ...(target === undefined ? [] : ['--target', target]),
        ...pairs('--build-arg', args),
        ...pairs('--label', labels),
        ...Object.entries(secrets).flatMap(([key, file]) => ['--secret', `id=${key},src=${file}`]),
        ...(noCache ? ['--no-cache'] : []),
        context,
      );
    },
    save: async (tag, path) => void (await buildah('push', '--quiet', tag, `docker-archive:${path}:${tag}`)),
    close() {
      for (const path of [run, folder]) removeFolder(path);
      return Promise.resolve();
    },
  };
}
