// Which node fetches an Image, and what the image controller itself has to say about it. Pulling, building, importing and
// the result belong to the agent of that node.
import type { Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import { PULL_NODE_ANNOTATION, type Image } from '../../crds/image.ts';
import { normaliseReference } from '../node-agent/images/reference.ts';
import type { NewCondition } from '../runtime/conditions.ts';
import { RUNTIME_FEATURES_ANNOTATION } from '../runtime/object-key.ts';

/** Reason of Ready while the node that holds the bytes of a deleted Image removes them. */
export const RELEASING_REASON = 'Releasing';

/** Condition that tells which references lead to another Image; only there while any does. */
export const TAKEN_CONDITION = 'ReferencesTaken';

/** Nodes, or references, that a condition names one by one. */
const MAX_NAMED = 5;

export interface ImageObserved {
  readonly image: Image;
  readonly nodes: readonly Node[];
  /** Images per node that it fetches already, to spread them. */
  readonly loadOf: (nodeName: string) => number;
  /** Nodes that have the archive, of those that an Image of its namespace may use. */
  readonly holdersOf: (digest: string) => readonly string[];
}

export type ImagePlan =
  | { readonly kind: 'assign'; readonly nodeName: string }
  | { readonly kind: 'keep' }
  | { readonly kind: 'wait'; readonly reason: string; readonly message: string }
  | { readonly kind: 'refuse'; readonly reason: string; readonly message: string };

/** Assigns the node once; again only when that node is gone, or cannot fetch while another one can. */
export function planImage({ image, nodes, loadOf, holdersOf }: ImageObserved): ImagePlan {
  const fixed = fixedNode(image, nodes);
  if (fixed.kind === 'refuse') return fixed;
  const current = image.metadata.annotations?.[PULL_NODE_ANNOTATION];
  if (fixed.nodeName !== undefined) {
    if (!nodes.some(({ metadata }) => metadata.name === fixed.nodeName)) {
      return { kind: 'wait', reason: 'NodeNotFound', message: `node ${fixed.nodeName} is not in the cluster` };
    }
    return current === fixed.nodeName ? { kind: 'keep' } : { kind: 'assign', nodeName: fixed.nodeName };
  }
  const able = image.spec.build ? nodes.filter(canBuild) : nodes;
  const ready = able.filter(isUsable);
  const holder = able.find(({ metadata }) => metadata.name === current);
  if (holder && (isUsable(holder) || ready.length === 0)) return { kind: 'keep' };
  const archive = archiveOf(image);
  const preferred = new Set(archive === undefined ? [] : holdersOf(archive));
  const best = ready.toSorted(
    ({ metadata: { name: a } }, { metadata: { name: b } }) =>
      Number(preferred.has(b)) - Number(preferred.has(a)) || loadOf(a) - loadOf(b) || a.localeCompare(b),
  )[0];
  if (best) return { kind: 'assign', nodeName: best.metadata.name };
  if (able.length === 0 && nodes.length > 0) {
    const message = `none of ${nodes.length} node(s) has a container runtime that builds images`;
    return { kind: 'wait', reason: 'NoNodeBuilds', message };
  }
  return { kind: 'wait', reason: 'NoNodeReady', message: `none of ${able.length} node(s) is ready to fetch it` };
}

/** Digest of the uploaded tar that an Image is made from. */
export const archiveOf = ({ spec }: Pick<Image, 'spec'>): string | undefined =>
  spec.build?.context.archive ?? spec.import?.archive;

/**
 * The nodes that have still to let go of a deleted Image which nobody uses, without those that cannot be waited for: they
 * left the cluster or do not answer.
 */
export function releasingNodes({ status }: Pick<Image, 'status'>, nodes: readonly Node[]): string[] {
  const answering = new Set(nodes.filter(isReady).map(({ metadata }) => metadata.name));
  return (status?.nodes ?? []).filter((name) => answering.has(name));
}

/** What an Image is made from that is on one node only: its field, and where it says which node. */
function localSource({ spec }: Image): { field: string; path: string; nodeName: string | undefined } | undefined {
  const { build, import: imported } = spec;
  if (imported?.hostPath !== undefined) {
    return { field: 'spec.import', path: imported.hostPath, nodeName: imported.nodeName };
  }
  const path = build?.context.hostPath ?? (build?.context.git?.startsWith('file://') ? build.context.git : undefined);
  return path === undefined ? undefined : { field: 'spec.build.context', path, nodeName: build?.context.nodeName };
}

function fixedNode(
  image: Image,
  nodes: readonly Node[],
): { kind: 'fixed'; nodeName: string | undefined } | { kind: 'refuse'; reason: string; message: string } {
  const source = localSource(image);
  if (source === undefined) return { kind: 'fixed', nodeName: undefined };
  if (source.nodeName !== undefined) return { kind: 'fixed', nodeName: source.nodeName };
  if (nodes.length <= 1) return { kind: 'fixed', nodeName: nodes[0]?.metadata.name };
  return {
    kind: 'refuse',
    reason: 'NodeNameRequired',
    message: `${source.field}.nodeName: must say which of ${nodes.length} nodes has ${source.path}`,
  };
}

/** Whether its runtime builds images; the agent says so. */
const canBuild = ({ metadata }: Node): boolean =>
  metadata.annotations?.[RUNTIME_FEATURES_ANNOTATION]?.split(',').includes('build') === true;

/** Whether its agent answers. */
export const isReady = ({ status }: Node): boolean =>
  status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True') === true;

/** Ready and not cordoned. */
export const isUsable = (node: Node): boolean => isReady(node) && node.spec?.unschedulable !== true;

/**
 * Conditions that are about the Image as an object, not about its bytes; `claimers` are Images of its namespace that have
 * a reference in common with it.
 */
export function planImageConditions(
  image: Image,
  users: readonly Container[],
  claimers: readonly Image[],
): NewCondition[] {
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
    ...planTaken(image, claimers),
  ];
}

/** What tells that references lead to another Image; nothing when none does. */
function planTaken(image: Image, claimers: readonly Image[]): NewCondition[] {
  const taken = [...takenReferences(image, claimers)];
  if (taken.length === 0) return [];
  const named = taken
    .slice(0, MAX_NAMED)
    .map(([reference, { metadata }]) => `${reference} means image "${metadata.name}"`);
  const rest = taken.length > MAX_NAMED ? ` and ${taken.length - MAX_NAMED} more` : '';
  const message = `${named.join(', ')}${rest}: only one Image of a namespace can have a reference`;
  return [{ type: TAKEN_CONDITION, status: 'True', reason: 'ReferenceTaken', message }];
}

/** Whether spec.prepull means the node. */
export const isPrepulledOn = ({ spec }: Pick<Image, 'spec'>, { metadata }: Pick<Node, 'metadata'>): boolean =>
  spec.prepull !== undefined &&
  Object.entries(spec.prepull.nodeSelector ?? {}).every(([key, value]) => metadata.labels?.[key] === value);

/** How far spec.prepull is; nothing when it asks for nothing. Nodes that do not answer are not waited for. */
export function planPrepull(image: Image, nodes: readonly Node[]): NewCondition[] {
  if (!image.spec.prepull) return [];
  const wanted = nodes
    .filter((node) => isReady(node) && isPrepulledOn(image, node))
    .map(({ metadata }) => metadata.name);
  const type = 'Prepulled';
  if (wanted.length === 0) {
    return [{ type, status: 'False', reason: 'NoNodeMatches', message: 'no ready node has these labels' }];
  }
  const held = new Set(image.status?.nodes ?? []);
  const missing = wanted.filter((name) => !held.has(name)).toSorted();
  const count = `${wanted.length - missing.length} of ${wanted.length} nodes`;
  if (missing.length === 0) return [{ type, status: 'True', reason: 'Prepulled', message: count }];
  const why = missing.slice(0, MAX_NAMED).map((name) => {
    const entry = image.status?.lacking?.find(({ nodeName }) => nodeName === name);
    return entry ? `${name} (${entry.reason}: ${entry.message})` : name;
  });
  const rest = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : '';
  const hasFailed = image.status?.lacking?.some(({ nodeName }) => missing.includes(nodeName)) === true;
  const reason = hasFailed ? 'PrepullFailed' : 'Prepulling';
  return [{ type, status: 'False', reason, message: `${count}; not yet: ${why.join(', ')}${rest}` }];
}

/** All references an Image answers to, written out in full. */
export const referencesOf = ({ spec }: Image): string[] => [
  ...new Set([spec.reference, ...(spec.tags ?? [])].filter((text) => text !== undefined).map(normaliseReference)),
];

/**
 * Sorts Images that have a reference in common: it means the first. Built and imported bytes come before a pull of the
 * same name; among equals the name decides.
 */
export const byClaim = (a: Image, b: Image): number =>
  Number(b.spec.reference === undefined) - Number(a.spec.reference === undefined) ||
  a.metadata.name.localeCompare(b.metadata.name);

/** The references of an Image that mean another one of `images`, which are of its namespace, and which one that is. */
export function takenReferences(image: Image, images: readonly Image[]): ReadonlyMap<string, Image> {
  const own = new Set(referencesOf(image));
  const taken = new Map<string, Image>();
  if (own.size === 0) return taken;
  for (const other of images.filter((one) => byClaim(one, image) < 0).toSorted(byClaim)) {
    for (const reference of referencesOf(other)) {
      if (own.has(reference) && !taken.has(reference)) taken.set(reference, other);
    }
  }
  return taken;
}

/** The Image as it is without the tags that mean another one of `images`. */
export function withoutTakenTags(image: Image, images: readonly Image[]): Image {
  const { tags } = image.spec;
  if (tags === undefined || tags.length === 0) return image;
  const taken = takenReferences(image, images);
  if (taken.size === 0) return image;
  return { ...image, spec: { ...image.spec, tags: tags.filter((tag) => !taken.has(normaliseReference(tag))) } };
}

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
