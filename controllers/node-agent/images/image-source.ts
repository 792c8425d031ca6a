// Where the image of a Container comes from: an Image of the namespace, the node, or the registry. Pure.
import type { Container } from '../../../crds/container.ts';
import { PULL_NODE_ANNOTATION, type Image } from '../../../crds/image.ts';
import { byClaim, referencesOf } from '../../image/plan.ts';
import { normaliseReference } from './reference.ts';

export type ImageSource =
  /** Pull (or find) this reference. */
  | {
      readonly kind: 'reference';
      readonly reference: string;
      readonly policy: 'IfNotPresent' | 'Always' | 'Never';
      readonly secretNames: readonly string[];
      /** What an Image of the namespace tells about it. */
      readonly known?: { readonly digest: string | undefined; readonly nodes: readonly string[] };
    }
  /** Bytes that only an Image object stands for (built or imported): never asked from a registry. */
  | {
      readonly kind: 'local';
      readonly imageName: string;
      readonly digest: string;
      readonly reference: string;
      readonly policy: 'IfNotPresent' | 'Always' | 'Never';
      readonly nodes: readonly string[];
      /** The node that makes it. */
      readonly home: string | undefined;
    }
  | { readonly kind: 'missing'; readonly reason: string; readonly message: string };

/** Reference by which a built or imported Image is kept on a node. */
export const localReference = ({ metadata }: { metadata: Pick<Image['metadata'], 'namespace' | 'name'> }): string =>
  `windlass.local/${metadata.namespace ?? ''}/${metadata.name}:latest`;

/** The source for `container`, given the Images of its namespace. */
export function findImageSource(container: Container, images: readonly Image[]): ImageSource {
  const { spec } = container;
  const policy = spec.imagePullPolicy ?? 'IfNotPresent';
  const secretNames = (spec.imagePullSecrets ?? []).map(({ name }) => name);
  if (spec.imageName !== undefined) {
    const image = images.find(({ metadata }) => metadata.name === spec.imageName);
    if (!image) return { kind: 'missing', reason: 'ImageNotFound', message: `image "${spec.imageName}" not found` };
    return fromImage(image, policy, secretNames);
  }
  const wanted = normaliseReference(spec.image ?? '');
  const named = images.filter((image) => referencesOf(image).includes(wanted));
  const image = named.toSorted(byClaim)[0];
  return image
    ? fromImage(image, policy, secretNames, wanted)
    : { kind: 'reference', reference: wanted, policy, secretNames };
}

function fromImage(
  image: Image,
  policy: 'IfNotPresent' | 'Always' | 'Never',
  secretNames: readonly string[],
  asked?: string,
): ImageSource {
  const { name } = image.metadata;
  if (image.spec.reference !== undefined) {
    return {
      kind: 'reference',
      reference: normaliseReference(image.spec.reference),
      policy: policy === 'IfNotPresent' ? (image.spec.pullPolicy ?? 'IfNotPresent') : policy,
      secretNames: [...secretNames, ...(image.spec.imagePullSecrets ?? []).map((secret) => secret.name)],
      known: { digest: image.status?.digest, nodes: image.status?.nodes ?? [] },
    };
  }
  const digest = image.status?.digest;
  if (digest === undefined) {
    const ready = image.status?.conditions?.find(({ type }) => type === 'Ready');
    return {
      kind: 'missing',
      reason: 'ImageNotReady',
      message: `image "${name}" is not ready${ready?.message ? `: ${ready.message}` : ''}`,
    };
  }
  return {
    kind: 'local',
    imageName: name,
    digest,
    policy,
    reference:
      asked ?? (image.spec.tags?.[0] === undefined ? localReference(image) : normaliseReference(image.spec.tags[0])),
    nodes: image.status?.nodes ?? [],
    home: image.metadata.annotations?.[PULL_NODE_ANNOTATION],
  };
}
