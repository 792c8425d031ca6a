// Which node fetches an Image, and what the image controller itself has to say about it. Pulling, importing and the
// result belong to the agent of that node.
import type { Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import { PULL_NODE_ANNOTATION, type Image } from '../../crds/image.ts';
import { normaliseReference } from '../node-agent/images/reference.ts';
import type { NewCondition } from '../runtime/conditions.ts';

/** Reason of Ready while the node that holds the bytes of a deleted Image removes them. */
export const RELEASING_REASON = 'Releasing';

export interface ImageObserved {
  readonly image: Image;
  readonly nodes: readonly Node[];
  /** Images per node that it fetches already, to spread them. */
  readonly loadOf: (nodeName: string) => number;
}

export type ImagePlan =
  | { readonly kind: 'assign'; readonly nodeName: string }
  | { readonly kind: 'keep' }
  | { readonly kind: 'wait'; readonly reason: string; readonly message: string }
  | { readonly kind: 'refuse'; readonly reason: string; readonly message: string };

/** Assigns the node once; again only when that node is gone, or cannot fetch while another one can. */
export function planImage({ image, nodes, loadOf }: ImageObserved): ImagePlan {
  const unsupported = findUnsupportedField(image);
  if (unsupported) {
    return { kind: 'refuse', reason: 'NotSupported', message: `${unsupported} is not supported by this version` };
  }
  const fixed = fixedNode(image, nodes);
  if (fixed.kind === 'refuse') return fixed;
  const current = image.metadata.annotations?.[PULL_NODE_ANNOTATION];
  if (fixed.nodeName !== undefined) {
    if (!nodes.some(({ metadata }) => metadata.name === fixed.nodeName)) {
      return { kind: 'wait', reason: 'NodeNotFound', message: `node ${fixed.nodeName} is not in the cluster` };
    }
    return current === fixed.nodeName ? { kind: 'keep' } : { kind: 'assign', nodeName: fixed.nodeName };
  }
  const ready = nodes.filter(isUsable);
  const holder = nodes.find(({ metadata }) => metadata.name === current);
  if (holder && (isUsable(holder) || ready.length === 0)) return { kind: 'keep' };
  const best = ready.toSorted(
    (a, b) => loadOf(a.metadata.name) - loadOf(b.metadata.name) || a.metadata.name.localeCompare(b.metadata.name),
  )[0];
  if (best) return { kind: 'assign', nodeName: best.metadata.name };
  return { kind: 'wait', reason: 'NoNodeReady', message: `none of ${nodes.length} node(s) is ready to fetch it` };
}

/**
 * The node that has still to let go of a deleted Image which nobody uses; undefined when none has, or when it cannot be
 * waited for: it left the cluster or does not answer.
 */
export function releasingNode({ metadata, status }: Image, nodes: readonly Node[]): string | undefined {
  const name = metadata.annotations?.[PULL_NODE_ANNOTATION];
  if (name === undefined || !status?.nodes?.includes(name)) return undefined;
  const node = nodes.find((one) => one.metadata.name === name);
  return node && isReady(node) ? name : undefined;
}

/** The name of what an Image asks for that is not built yet. */
export function findUnsupportedField({ spec }: Image): string | undefined {
  if (spec.build) return 'spec.build';
  if (spec.import?.archive !== undefined) return 'spec.import.archive';
  return undefined;
}

function fixedNode(
  { spec }: Image,
  nodes: readonly Node[],
): { kind: 'fixed'; nodeName: string | undefined } | { kind: 'refuse'; reason: string; message: string } {
  if (spec.import?.hostPath === undefined) return { kind: 'fixed', nodeName: undefined };
  if (spec.import.nodeName !== undefined) return { kind: 'fixed', nodeName: spec.import.nodeName };
  if (nodes.length <= 1) return { kind: 'fixed', nodeName: nodes[0]?.metadata.name };
  return {
    kind: 'refuse',
    reason: 'NodeNameRequired',
    message: `spec.import.nodeName: must say which of ${nodes.length} nodes has ${spec.import.hostPath}`,
  };
}

const isReady = ({ status }: Node): boolean =>
  status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True') === true;

/** Ready and not cordoned. */
export const isUsable = (node: Node): boolean => isReady(node) && node.spec?.unschedulable !== true;

/** Conditions that are about the Image as an object, not about its bytes. */
export function planImageConditions(image: Image, users: readonly Container[]): NewCondition[] {
  const hasName = image.spec.reference !== undefined || (image.spec.tags?.length ?? 0) > 0;
  const isDangling = !hasName && users.length === 0;
  return [
    isDangling
      ? {
          type: 'Dangling',
          status: 'True',
          reason: 'Untagged',
          message: 'it has no reference and no container uses it',
        }
      : { type: 'Dangling', status: 'False', reason: hasName ? 'Tagged' : 'InUse', message: '' },
  ];
}

/** All references an Image answers to, written out in full. */
export const referencesOf = ({ spec }: Image): string[] => [
  ...new Set([spec.reference, ...(spec.tags ?? [])].filter((text) => text !== undefined).map(normaliseReference)),
];

/** How a Container names its image: `name:<Image>` or `ref:<reference in full>`, after its namespace. */
export function imageUseOf({ metadata, spec }: Pick<Container, 'metadata' | 'spec'>): string {
  const use = spec.imageName === undefined ? `ref:${normaliseReference(spec.image ?? '')}` : `name:${spec.imageName}`;
  return `${metadata.namespace ?? ''}/${use}`;
}

/** The uses that mean `image`; compare with imageUseOf(). */
export function usesMeaning(image: Image): string[] {
  const namespace = image.metadata.namespace ?? '';
  return [
    `${namespace}/name:${image.metadata.name}`,
    ...referencesOf(image).map((reference) => `${namespace}/ref:${reference}`),
  ];
}
