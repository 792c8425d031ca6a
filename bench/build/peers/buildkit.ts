// BuildKit by itself: `buildkitd` and `buildctl` from the PATH. It gets its base images as OCI layouts.
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { findProgram } from '../../../cli/preflight.ts';
import type { BaseImage } from '../../../test/support/build/base-images.ts';
import { writeOciLayout } from '../../../test/support/images.ts';
import { runCommand } from '../../../test/support/instance.ts';
import { waitFor } from '../../../test/support/wait.ts';
import { makeNetns, makeRunFolder, PeerMissing, removeFolder } from '../../runtime/peer.ts';
import { pairs, runBuilder, type BuildPeer } from './peer.ts';

/** A daemon of its own that can start from `images`. Throws PeerMissing. */
export async function startBuildkit(images: readonly BaseImage[]): Promise<BuildPeer> {
  for (const program of ['buildkitd', 'buildctl'])
    if (!findProgram(program, process.env['PATH'])) throw new PeerMissing(`${program} is not installed`);
  const folder = mkdtempSync(join(tmpdir(), 'windlass-bench-buildkit-'));
  const run = makeRunFolder('buildkit');
  const netns = makeNetns('buildkit');
  const address = `unix://${run}/buildkitd.sock`;
  const [file = '', ...args] = [
    ...[...netns.prefix, 'buildkitd', '--addr', address, '--root', join(folder, 'root')],
    ...['--oci-worker=true', '--containerd-worker=false', '--oci-worker-net', 'host'],
  ];
  const daemon = spawn(file, args, { stdio: 'ignore' });
  const buildctl = (...command: string[]): Promise<string> =>
    runBuilder('buildctl', ['--addr', address, ...command], process.env);
  const isUp = (): Promise<boolean> =>
    buildctl('debug', 'workers').then(
      () => true,
      () => false,
    );
  await waitFor(isUp, { timeoutMs: 60_000, what: 'buildkitd' });
  const bases = images.flatMap(({ name, image }) => {
    const layout = join(folder, 'images', name);
    mkdirSync(layout, { recursive: true });
    writeOciLayout(layout, image);
    const source = `oci-layout://${name}@${image.manifest.digest}`;
    return ['--oci-layout', `${name}=${layout}`, '--opt', `context:${name}=${source}`];
  });
  const archives = join(folder, 'built');
  mkdirSync(archives);
  const archiveOf = (tag: string): string => join(archives, `${tag.replaceAll(/[^\w.-]/g, '_')}.tar`);
  const { stdout } = await runCommand('buildkitd', ['--version']);
  return {
    id: 'buildkit',
    version: stdout.trim().replace('github.com/moby/', ''),
    async build({ folder: context, dockerfile, target, args: buildArgs, labels, secrets = {}, noCache = false, tag }) {
      await buildctl(
        ...['build', '--progress', 'plain', '--frontend', 'dockerfile.v0', '--local', `context=${context}`],
        // The per-Dockerfile ignore file is looked for beside the Dockerfile.
        ...['--local', `dockerfile=${join(context, dirname(dockerfile))}`],
        ...['--opt', `filename=${dockerfile.slice(dockerfile.lastIndexOf('/') + 1)}`, ...bases],
        ...(target === undefined ? [] : ['--opt', `target=${target}`]),
        ...pairs('--opt', prefixed('build-arg:', buildArgs)),
        ...pairs('--opt', prefixed('label:', labels)),
        ...Object.entries(secrets).flatMap(([key, path]) => ['--secret', `id=${key},src=${path}`]),
        ...(noCache ? ['--no-cache'] : []),
        ...['--output', `type=docker,name=${tag},dest=${archiveOf(tag)}`],
      );
    },
    save(tag, path) {
      cpSync(archiveOf(tag), path);
      return Promise.resolve();
    },
    async close() {
      const ended = new Promise((resolve) => daemon.once('exit', resolve));
      daemon.kill('SIGTERM');
      await ended;
      netns.close();
      for (const path of [run, folder]) removeFolder(path);
    },
  };
}

const prefixed = (prefix: string, values: Readonly<Record<string, string>> = {}): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [`${prefix}${key}`, value]));
