// Discovery documents of the first kind: one per group and version. `auth can-i`, client-node and old kubectl read them.
import type { Resource } from '../resources/resource.ts';
import {
  groupResources,
  groupVersionName,
  storageVersionHash,
  subresourcesOf,
  type GroupVersions,
} from './resource-groups.ts';

export interface ApiVersions {
  readonly kind: 'APIVersions';
  readonly versions: readonly string[];
  readonly serverAddressByClientCIDRs: readonly { clientCIDR: string; serverAddress: string }[];
}

interface GroupVersionForDiscovery {
  readonly groupVersion: string;
  readonly version: string;
}

export interface ApiGroup {
  readonly kind?: 'APIGroup';
  readonly apiVersion?: 'v1';
  readonly name: string;
  readonly versions: readonly GroupVersionForDiscovery[];
  readonly preferredVersion: GroupVersionForDiscovery;
}

export interface ApiGroupList {
  readonly kind: 'APIGroupList';
  readonly apiVersion: 'v1';
  readonly groups: readonly ApiGroup[];
}

export interface ApiResource {
  readonly name: string;
  readonly singularName: string;
  readonly namespaced: boolean;
  readonly group?: string;
  readonly version?: string;
  readonly kind: string;
  readonly verbs: readonly string[];
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  readonly storageVersionHash?: string;
}

export interface ApiResourceList {
  readonly kind: 'APIResourceList';
  readonly apiVersion: 'v1';
  readonly groupVersion: string;
  readonly resources: readonly ApiResource[];
}

/** `GET /api`: the versions of the core group. `serverAddress` is the host:port clients reach the server at. */
export function apiVersions(resources: readonly Resource[], serverAddress: string): ApiVersions {
  const core = groupResources(resources).find((each) => each.group === '');
  return {
    kind: 'APIVersions',
    versions: core?.versions.map((each) => each.version) ?? [],
    serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress }],
  };
}

/** `GET /apis`: all groups but the core group. */
export function apiGroupList(resources: readonly Resource[]): ApiGroupList {
  const groups = groupResources(resources).filter((each) => each.group !== '');
  return { kind: 'APIGroupList', apiVersion: 'v1', groups: groups.map(toApiGroup) };
}

/** `GET /apis/<group>`; undefined when nothing is served in it. */
export function apiGroup(resources: readonly Resource[], group: string): ApiGroup | undefined {
  const found = groupResources(resources).find((each) => each.group === group && group !== '');
  return found && { kind: 'APIGroup', apiVersion: 'v1', ...toApiGroup(found) };
}

function toApiGroup({ group, versions }: GroupVersions): ApiGroup {
  const names = versions.map(({ version }) => ({ groupVersion: groupVersionName(group, version), version }));
  const [preferredVersion = { groupVersion: group, version: '' }] = names;
  return { name: group, versions: names, preferredVersion };
}

/** `GET /api/v1` and `GET /apis/<group>/<version>`; undefined when nothing is served in it. */
export function apiResourceList(
  resources: readonly Resource[],
  group: string,
  version: string,
): ApiResourceList | undefined {
  const served = resources.filter((each) => each.group === group && each.version === version);
  if (served.length === 0) return undefined;
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: groupVersionName(group, version),
    resources: served.toSorted((a, b) => (a.plural < b.plural ? -1 : 1)).flatMap(rowsOf),
  };
}

function rowsOf(resource: Resource): ApiResource[] {
  const { plural, namespaced, group, version } = resource;
  const main: ApiResource = {
    name: plural,
    singularName: resource.singular,
    namespaced,
    kind: resource.kind,
    verbs: resource.verbs.toSorted(),
    ...(resource.shortNames.length > 0 ? { shortNames: resource.shortNames } : {}),
    ...(resource.categories.length > 0 ? { categories: resource.categories } : {}),
    storageVersionHash: storageVersionHash(resource),
  };
  const subresources = subresourcesOf(resource).map((row): ApiResource => {
    const isForeign = row.group !== group || row.version !== version;
    return {
      name: `${plural}/${row.name}`,
      singularName: '',
      namespaced,
      ...(isForeign ? { group: row.group, version: row.version } : {}),
      kind: row.kind,
      verbs: row.verbs,
    };
  });
  return [main, ...subresources];
}
