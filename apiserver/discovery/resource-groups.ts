// Served resources by group and version, in the order in which discovery lists them.
import { createHash } from 'node:crypto';
import type { Resource } from '../resources/resource.ts';

export interface GroupVersions {
  readonly group: string;
  /** Preferred version first. */
  readonly versions: readonly { readonly version: string; readonly resources: readonly Resource[] }[];
}

/** Groups in order of first appearance, the core group first; versions by Kubernetes' priority (v2, v1, v1beta1). */
export function groupResources(resources: readonly Resource[]): GroupVersions[] {
  const groups = new Map<string, Map<string, Resource[]>>();
  for (const resource of resources) {
    const versions = groups.get(resource.group) ?? new Map<string, Resource[]>();
    groups.set(resource.group, versions);
    const list = versions.get(resource.version) ?? [];
    versions.set(resource.version, list);
    list.push(resource);
  }
  return [...groups]
    .toSorted(([a], [b]) => Number(b === '') - Number(a === ''))
    .map(([group, versions]) => ({
      group,
      versions: [...versions]
        .toSorted(([a], [b]) => compareVersions(a, b))
        .map(([version, list]) => ({ version, resources: list })),
    }));
}

/** `v1`, or `apps/v1`. */
export function groupVersionName(group: string, version: string): string {
  return group === '' ? version : `${group}/${version}`;
}

/** Orders versions from the most to the least preferred: stable before beta before alpha, then higher numbers. */
export function compareVersions(a: string, b: string): number {
  const left = rank(a);
  const right = rank(b);
  for (let index = 0; index < 3; index += 1) {
    const difference = (right[index] ?? 0) - (left[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return a < b ? -1 : Number(a > b);
}

function rank(version: string): [number, number, number] {
  const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version);
  if (!match) return [0, 0, 0];
  const stability = match[2] === undefined ? 3 : match[2] === 'beta' ? 2 : 1;
  return [stability, Number(match[1]), Number(match[3] ?? 0)];
}

/** Changes when the form in the store changes: upstream hashes group, version and kind the same way. */
export function storageVersionHash(resource: Resource): string {
  const text = `${resource.group}/${resource.version}/${resource.kind}`;
  return createHash('sha256').update(text).digest().subarray(0, 8).toString('base64');
}

export interface SubresourceRow {
  readonly name: string;
  readonly kind: string;
  readonly group: string;
  readonly version: string;
  readonly verbs: readonly string[];
}

/** The subresources of `resource`: status, scale and its own. */
export function subresourcesOf(resource: Resource): SubresourceRow[] {
  const { group, version, kind } = resource;
  const rows: SubresourceRow[] = [];
  const own = resource.subresources ?? [];
  const canWrite = resource.verbs.includes('update') || resource.verbs.includes('patch');
  const verbs = canWrite ? ['get', 'patch', 'update'] : ['get'];
  if (resource.status && !own.some((each) => each.name === 'status')) {
    rows.push({ name: 'status', kind, group, version, verbs });
  }
  if (resource.scale && !own.some((each) => each.name === 'scale')) {
    rows.push({ name: 'scale', kind: 'Scale', group: 'autoscaling', version: 'v1', verbs });
  }
  for (const each of own) {
    rows.push({
      name: each.name,
      kind: each.kind,
      group: each.group ?? group,
      version: each.version ?? version,
      verbs: each.verbs,
    });
  }
  return rows.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
