// What an Image's spec.build asks of the runtime, and the hash by which one build is told from another. Pure.
import { createHash } from 'node:crypto';
import { NO_NETWORK, type Image } from '../../../crds/image.ts';
import { canonicalJson } from '../container/spec-hash.ts';
import { localReference } from '../images/image-source.ts';
import { normaliseReference } from '../images/reference.ts';
import type { ImageBuild } from '../runtime/image-build.ts';
import type { BuildSecrets } from './build-secrets.ts';

type Context = NonNullable<Image['spec']['build']>['context'];

/** Hash of all that an image comes from; names and registries to push to are not among it. */
export function hashInputs({ spec }: Image, secretVersions: readonly string[]): string {
  const text = canonicalJson({ build: spec.build, secretVersions });
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

/** Every name that the image gets on the node. */
export const referencesOfBuild = (image: Image): string[] => [
  ...new Set([localReference(image), ...(image.spec.tags ?? []).map(normaliseReference)]),
];

/** The build for the runtime. Throws for an Image that is not built. */
export function toImageBuild(image: Image, secrets: Extract<BuildSecrets, { kind: 'read' }>): ImageBuild {
  const { build } = image.spec;
  if (!build) throw new Error(`image ${image.metadata.name} is not built`);
  const { namespace = '', uid = '' } = image.metadata;
  const network = build.network ?? 'default';
  return {
    id: uid,
    context: toContext(build.context),
    dockerfile: build.dockerfile ?? 'Dockerfile',
    dockerfileInline: build.dockerfileInline,
    target: build.target,
    args: build.args ?? {},
    labels: build.labels ?? {},
    secrets: secrets.secrets,
    noCache: build.noCache ?? false,
    pull: build.pull ?? false,
    platform: build.platform,
    references: referencesOfBuild(image),
    network: network === NO_NETWORK ? undefined : `${namespace}/${network}`,
    cacheFrom: (build.cacheFrom ?? []).map(normaliseReference),
    cacheTo: build.cacheTo === undefined ? undefined : normaliseReference(build.cacheTo),
    credentials: secrets.credentials,
  };
}

function toContext({ inline, hostPath, archive, git }: Context): ImageBuild['context'] {
  if (hostPath !== undefined) return { kind: 'hostPath', path: hostPath };
  if (archive !== undefined) return { kind: 'archive', digest: archive };
  if (git !== undefined) return { kind: 'git', url: git };
  return { kind: 'inline', files: inline ?? {} };
}
