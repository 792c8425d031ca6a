// Debian's dockerd and its two builders. Newer clients reach BuildKit through a plugin only: the one that came with the
// daemon is looked for.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { findProgram } from '../../../cli/preflight.ts';
import type { BaseImage } from '../../../test/support/build/base-images.ts';
import { writeDockerArchive } from '../../../test/support/images.ts';
import { runCommand } from '../../../test/support/instance.ts';
import { startDockerd } from '../../runtime/dockerd.ts';
import { PeerMissing } from '../../runtime/peer.ts';
import { pairs, runBuilder, type BuildPeer } from './peer.ts';

/** Both builders over one daemon that has `images`; the last one's close() ends it. Throws PeerMissing. */
export async function startDockerPeers(images: readonly BaseImage[]): Promise<BuildPeer[]> {
  const client = await findOldClient();
  const daemon = await startDockerd();
  const folder = mkdtempSync(join(tmpdir(), 'windlass-bench-images-'));
  try {
    for (const { name, image } of images) {
      const path = join(folder, `${name}.tar`);
      writeDockerArchive(path, image, [`${name}:latest`]);
      await daemon.docker('load', '--input', path);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  const version = (await runBuilder(client, ['version', '--format', '{{.Server.Version}}'], daemon.env)).trim();
  const peer = (id: 'docker' | 'docker-buildkit', close: () => Promise<void>): BuildPeer => {
    const env = { ...daemon.env, DOCKER_BUILDKIT: id === 'docker' ? '0' : '1', BUILDKIT_PROGRESS: 'plain' };
    return {
      id,
      version: `docker ${version}, ${id === 'docker' ? 'legacy builder' : 'BuildKit'}`,
      async build({ folder: context, dockerfile, target, args, labels, secrets = {}, noCache = false, tag }) {
        await runBuilder(
          client,
          [
            ...['build', '--tag', tag, '--file', join(context, dockerfile)],
            ...(target === undefined ? [] : ['--target', target]),
            ...pairs('--build-arg', args),
            ...pairs('--label', labels),
            ...Object.entries(secrets).flatMap(([key, file]) => ['--secret', `id=${key},src=${file}`]),
            ...(noCache ? ['--no-cache'] : []),
            context,
          ],
          env,
        );
      },
      save: async (tag, path) => void (await runBuilder(client, ['save', '--output', path, tag], env)),
      close,
    };
  };
  return [peer('docker', () => Promise.resolve()), peer('docker-buildkit', daemon.close)];
}

async function findOldClient(): Promise<string> {
  if (!findProgram('dockerd', process.env['PATH'])) throw new PeerMissing('dockerd is not installed');
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const client = findProgram('docker', folder);
    if (client === undefined) continue;
    const { stdout } = await runCommand(client, ['--version']);
    if (Number(/version (\d+)/.exec(stdout)?.[1]) < 23) return client;
  }
  throw new PeerMissing('no docker client before version 23: those after it have no builder of their own');
}
