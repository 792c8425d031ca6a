// An Image that is imported: from a path of this node, or from a tar that was uploaded.
import { stat } from 'node:fs/promises';
import type { Image } from '../../../crds/image.ts';
import { errnoOf, messageOf } from '../../../lib/errors.ts';
import type { Problem } from '../builds/build-image.ts';
import type { ImportConfig, NodeRuntime } from '../runtime/node-runtime.ts';
import { localReference } from './image-source.ts';
import type { Fetch } from './image-status.ts';
import { normaliseReference } from './reference.ts';

export interface ImportDeps {
  readonly runtime: Pick<NodeRuntime, 'inspectImage' | 'importImage'>;
  /** Brings an uploaded tar to this node; says why when that cannot be. */
  readonly fetchArchive: (namespace: string, digest: string, signal: AbortSignal) => Promise<Problem | undefined>;
  /** Where the runtime keeps it then. */
  readonly archivePath: (digest: string) => string;
  readonly nodeName: string;
}

const fail = (reason: string, message: string, requeueAfterMs: number): Extract<Fetch, { kind: 'failed' }> => ({
  kind: 'failed',
  reason,
  message,
  requeueAfterMs,
});

/** Imports it unless it is there. */
export async function importImage(deps: ImportDeps, image: Image, signal: AbortSignal): Promise<Fetch> {
  const { import: source, tags = [] } = image.spec;
  const own = localReference(image);
  const present = await deps.runtime.inspectImage(own);
  // A new generation may name another file: it is read again, which changes nothing when it is the same.
  if (present && image.status?.observedGeneration === image.metadata.generation)
    return { kind: 'here', image: present, fetched: false };
  const found = await findSource(deps, image, signal);
  if ('kind' in found) return found;
  try {
    const references = [own, ...tags.map(normaliseReference)];
    await deps.runtime.importImage(found.path, references, toImportConfig(source?.config), signal);
  } catch (error) {
    if (signal.aborted) throw error;
    return fail('ImportFailed', `failed to import ${found.name}: ${messageOf(error)}`, 30_000);
  }
  const imported = await deps.runtime.inspectImage(own);
  if (imported) return { kind: 'here', image: imported, fetched: true };
  return fail('ImportFailed', `failed to import ${found.name}: the image is not there afterwards`, 30_000);
}

/** The file or folder to read, and how the user calls it. */
async function findSource(
  deps: ImportDeps,
  { metadata, spec }: Image,
  signal: AbortSignal,
): Promise<{ readonly path: string; readonly name: string } | Extract<Fetch, { kind: 'failed' }>> {
  const { hostPath: path, archive = '' } = spec.import ?? {};
  if (path === undefined) {
    const problem = await deps.fetchArchive(metadata.namespace ?? '', archive, signal);
    if (problem) return fail(problem.reason, `spec.import.archive: ${problem.message}`, 5000);
    return { path: deps.archivePath(archive), name: `archive ${archive}` };
  }
  try {
    await stat(path);
  } catch (error) {
    const why = errnoOf(error) === 'ENOENT' ? 'does not exist' : messageOf(error);
    return fail('HostPathNotFound', `${path} on node ${deps.nodeName}: ${why}`, 5000);
  }
  return { path, name: path };
}

function toImportConfig(config: NonNullable<Image['spec']['import']>['config']): ImportConfig | undefined {
  return (
    config && {
      entrypoint: config.command ?? [],
      cmd: config.args ?? [],
      env: (config.env ?? []).map(({ name, value }) => `${name}=${value}`),
      workingDir: config.workingDir ?? '',
      user: config.user ?? '',
      exposedPorts: config.exposedPorts ?? [],
      volumes: config.volumes ?? [],
      labels: config.labels ?? {},
      stopSignal: config.stopSignal ?? '',
    }
  );
}
