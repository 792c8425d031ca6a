// Aggregated discovery: everything under /api or /apis in one answer (apidiscovery.k8s.io/v2).
import type { Resource } from '../resources/resource.ts';
import { negotiate } from './negotiate.ts';
import { groupResources, subresourcesOf } from './resource-groups.ts';

/** Clients take any other Content-Type for the legacy document, whatever the body says. */
export const AGGREGATED_CONTENT_TYPE = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';

const OFFERS = [
  {
    type: 'application/json',
    parameters: { g: 'apidiscovery.k8s.io', v: 'v2', as: 'APIGroupDiscoveryList' },
    form: 'aggregated',
  },
  { type: 'application/json', form: 'legacy' },
] as const;

/**
 * Which form of /api and /apis an Accept header asks for; undefined when neither fits (406). kubectl 1.27 to 1.29
 * ask for v2beta1, which is gone: they name plain JSON too and get the legacy form.
 */
export function negotiateDiscovery(acceptHeader: string | undefined): 'aggregated' | 'legacy' | undefined {
  return negotiate(acceptHeader, OFFERS)?.form;
}

interface ResourceDiscovery {
  readonly resource: string;
  readonly responseKind: { group: string; version: string; kind: string };
  readonly scope: 'Namespaced' | 'Cluster';
  readonly singularResource: string;
  readonly verbs: readonly string[];
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  readonly subresources?: readonly {
    subresource: string;
    responseKind: { group: string; version: string; kind: string };
    verbs: readonly string[];
  }[];
}

export interface ApiGroupDiscoveryList {
  readonly kind: 'APIGroupDiscoveryList';
  readonly apiVersion: 'apidiscovery.k8s.io/v2';
  readonly metadata: Record<string, never>;
  readonly items: readonly {
    readonly metadata: { readonly name?: string };
    readonly versions: readonly {
      readonly version: string;
      readonly resources: readonly ResourceDiscovery[];
      readonly freshness: 'Current';
    }[];
  }[];
}

/** The document for `/api` (root `api`: the core group) or for `/apis` (all others). */
export function apiGroupDiscoveryList(resources: readonly Resource[], root: 'api' | 'apis'): ApiGroupDiscoveryList {
  const groups = groupResources(resources).filter((each) => (each.group === '') === (root === 'api'));
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    metadata: {},
    items: groups.map(({ group, versions }) => ({
      metadata: group === '' ? {} : { name: group },
      versions: versions.map(({ version, resources: served }) => ({
        version,
        resources: served.toSorted((a, b) => (a.plural < b.plural ? -1 : 1)).map(describe),
        freshness: 'Current' as const,
      })),
    })),
  };
}

function describe(resource: Resource): ResourceDiscovery {
  const subresources = subresourcesOf(resource).map((row) => ({
    subresource: row.name,
    responseKind: { group: row.group, version: row.version, kind: row.kind },
    verbs: row.verbs,
  }));
  return {
    resource: resource.plural,
    responseKind: { group: resource.group, version: resource.version, kind: resource.kind },
    scope: resource.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: resource.singular,
    verbs: resource.verbs.toSorted(),
    ...(resource.shortNames.length > 0 ? { shortNames: resource.shortNames } : {}),
    ...(resource.categories.length > 0 ? { categories: resource.categories } : {}),
    ...(subresources.length > 0 ? { subresources } : {}),
  };
}
