// An Image that is built on this node: whether what is here is still what its spec asks for, and if not, a build of it.
import { stat } from 'node:fs/promises';
import { NO_NETWORK, type Image } from '../../../crds/image.ts';
import { rfc3339, type Clock } from '../../../lib/clock.ts';
import { errnoOf, messageOf } from '../../../lib/errors.ts';
import type { Cluster } from '../cluster.ts';
import { localReference } from '../images/image-source.ts';
import type { Fetch } from '../images/image-status.ts';
import type { NodeNetworks } from '../networks/node-networks.ts';
import type { InspectedImage, NodeRuntime } from '../runtime/node-runtime.ts';
import { describeCircle, findBuildCircle } from './build-circle.ts';
import { hashInputs, toImageBuild } from './build-request.ts';
import { readBuildSecrets, type BuildSecrets } from './build-secrets.ts';
import type { BuildState, ImageBuilder } from './image-builder.ts';

/** Nothing tells of a Secret that has changed: it is looked at this often. */
const SECRETS_MS = 30_000;
const SOON_MS = 5000;

export interface BuildImageDeps {
  readonly cluster: Pick<Cluster, 'secret' | 'images'>;
  readonly runtime: Pick<NodeRuntime, 'inspectImage'>;
  readonly builder: ImageBuilder;
  readonly networks: Pick<NodeNetworks, 'ensure'>;
  /** Brings an uploaded tar to this node; says why when that cannot be. */
  readonly fetchArchive: (namespace: string, digest: string, signal: AbortSignal) => Promise<Problem | undefined>;
  readonly readGitHead: (context: string, signal: AbortSignal) => Promise<string>;
  readonly clock: Clock;
  readonly nodeName: string;
}

export interface Problem {
  readonly reason: string;
  readonly message: string;
}

/** One look at the Image; `onChange` runs when the build that it started is over. */
export async function buildImage(
  deps: BuildImageDeps,
  image: Image,
  onChange: () => void,
  signal: AbortSignal,
): Promise<Fetch> {
  const { clock } = deps;
  const secrets = await readBuildSecrets(deps.cluster, image, signal);
  if (secrets.kind === 'missing') return fail('SecretNotFound', secrets.message);
  const inputs = hashInputs(image, secrets.versions);
  const present = await deps.runtime.inspectImage(localReference(image));
  const waitMs = secrets.secrets.length > 0 ? SECRETS_MS : undefined;
  const refreshMs = refreshMsOf(image);
  const dueMs = refreshMs === undefined ? undefined : (Date.parse(image.status?.resolvedAt ?? '') || 0) + refreshMs;
  let round = '';
  if (present && isBuiltFrom(image, inputs, present)) {
    if (dueMs === undefined || clock.now() < dueMs) {
      return { kind: 'here', image: present, fetched: false, requeueAfterMs: soonest(waitMs, dueMs, clock.now()) };
    }
    const look = await isStale(deps, image, signal);
    if (look.kind === 'failed') return look;
    if (look.kind === 'same') return { kind: 'here', image: present, fetched: true, requeueAfterMs: refreshMs };
    // A build of the same inputs as before is another one all the same.
    round = rfc3339(dueMs);
  }
  const started = await request(deps, image, { secrets, inputs: `${inputs} ${round}`, onChange, signal });
  const fetch = 'kind' in started ? started : await toFetch(deps, image, inputs, started);
  if (fetch.kind === 'busy' && present && round !== '') {
    return { kind: 'here', image: present, fetched: false, progress: fetch.progress, requeueAfterMs: 1000 };
  }
  return fetch.kind === 'failed' ? { ...fetch, requeueAfterMs: fetch.requeueAfterMs ?? waitMs } : fetch;
}

const fail = (reason: string, message: string, requeueAfterMs = SOON_MS): Extract<Fetch, { kind: 'failed' }> => ({
  kind: 'failed',
  reason,
  message,
  requeueAfterMs,
});

const isBuiltFrom = ({ status }: Image, inputs: string, present: InspectedImage): boolean =>
  status?.build?.inputs === inputs && status.digest === present.digest;

/** How often to look whether what it is built from has changed; undefined when it cannot, or that is not asked for. */
function refreshMsOf({ spec: { refreshSeconds, build } }: Image): number | undefined {
  if (refreshSeconds === undefined || build === undefined) return undefined;
  const canChange = build.context.git !== undefined || build.context.hostPath !== undefined || build.pull === true;
  return canChange ? refreshSeconds * 1000 : undefined;
}

function soonest(waitMs: number | undefined, dueMs: number | undefined, now: number): number | undefined {
  const waits = [waitMs, dueMs === undefined ? undefined : Math.max(dueMs - now, 100)];
  const known = waits.filter((wait) => wait !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

/** Whether another build may come to another image. Git is asked; a folder can only be built to find out. */
async function isStale(
  deps: BuildImageDeps,
  { spec, status }: Image,
  signal: AbortSignal,
): Promise<{ kind: 'same' | 'changed' } | Extract<Fetch, { kind: 'failed' }>> {
  const git = spec.build?.context.git;
  if (git === undefined || spec.build?.pull === true) return { kind: 'changed' };
  try {
    const head = await deps.readGitHead(git, signal);
    return { kind: head === status?.build?.commit ? 'same' : 'changed' };
  } catch (error) {
    if (signal.aborted) throw error;
    return fail('ContextNotFound', `spec.build.context.git: ${messageOf(error)}`, (spec.refreshSeconds ?? 60) * 1000);
  }
}

async function request(
  deps: BuildImageDeps,
  image: Image,
  {
    secrets,
    inputs,
    onChange,
    signal,
  }: { secrets: Extract<BuildSecrets, { kind: 'read' }>; inputs: string; onChange: () => void; signal: AbortSignal },
): Promise<BuildState | Extract<Fetch, { kind: 'failed' }>> {
  const { namespace = '', name, uid = '' } = image.metadata;
  const { context, network } = image.spec.build ?? { context: {} };
  if (context.hostPath !== undefined) {
    const why = await folderProblem(context.hostPath);
    if (why !== undefined) {
      const message = `spec.build.context.hostPath: ${context.hostPath} on node ${deps.nodeName} ${why}`;
      return fail('ContextNotFound', message);
    }
  }
  if (context.archive !== undefined) {
    const problem = await deps.fetchArchive(namespace, context.archive, signal);
    if (problem) return fail(problem.reason, `spec.build.context.archive: ${problem.message}`);
  }
  if (network !== NO_NETWORK) {
    const need = await deps.networks.ensure(namespace, network ?? 'default');
    if (need.state === 'Waiting') return fail(need.reason, `spec.build.network: ${need.message}`, 1000);
  }
  const owner = { namespace, name, uid };
  return deps.builder.request(
    { owner, inputs, build: toImageBuild(image, secrets), refreshMs: refreshMsOf(image) },
    onChange,
  );
}

async function folderProblem(path: string): Promise<string | undefined> {
  try {
    return (await stat(path)).isDirectory() ? undefined : 'is no folder';
  } catch (error) {
    return errnoOf(error) === 'ENOENT' ? 'does not exist' : `cannot be read: ${messageOf(error)}`;
  }
}

async function toFetch(deps: BuildImageDeps, image: Image, inputs: string, state: BuildState): Promise<Fetch> {
  switch (state.state) {
    case 'Building':
      return {
        kind: 'busy',
        progress: { phase: 'Building', ...(state.step === undefined ? {} : { step: state.step }) },
      };
    case 'Failed': {
      const requeueAfterMs =
        state.retryAtMs === undefined ? undefined : Math.max(state.retryAtMs - deps.clock.now(), 100);
      const { reason, message, missingImage } = state;
      if (missingImage === undefined) return { kind: 'failed', reason, message, requeueAfterMs };
      const images = deps.cluster.images.list(image.metadata.namespace);
      const circle = findBuildCircle(image, missingImage, images);
      return {
        kind: 'failed',
        ...(circle === undefined
          ? { reason, message }
          : { reason: 'BuildCircle', message: `${describeCircle(circle)}. ${message}` }),
        ...{ requeueAfterMs, waitsFor: missingImage },
      };
    }
    case 'Built': {
      const built = await deps.runtime.inspectImage(localReference(image));
      if (!built) return fail('BuildFailed', `${state.result.digest} is gone again after its build`);
      const { commit, cachedSteps } = state.result;
      const build = {
        inputs,
        ...(commit === '' ? {} : { commit }),
        cachedSteps,
        startedAt: rfc3339(state.startedAtMs),
        finishedAt: rfc3339(state.finishedAtMs),
      };
      const took = `in ${((state.finishedAtMs - state.startedAtMs) / 1000).toFixed(1)} s`;
      return { kind: 'here', image: built, fetched: true, build, took };
    }
  }
}
