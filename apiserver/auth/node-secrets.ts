// The part of the node rule that needs the store: an agent gets a Secret only where something that it runs, or may have
// to pull, refers to it. https://kubernetes.io/docs/reference/access-authn-authz/node/
import { isObject } from '../schema/objects.ts';
import type { ResourceStore } from '../storage/resource-store.ts';
import type { User } from './user.ts';
import { MASTERS, NODES, type Attributes, type Decision } from './authorize.ts';
import { nodeNameOf } from './node-rule.ts';

const CONTAINERS = { group: 'windlass.dev', plural: 'containers' } as const;
const IMAGES = { group: 'windlass.dev', plural: 'images' } as const;

/** Fields whose value is, or lists, references `{name}` to Secrets. */
const REFERENCES: ReadonlySet<string> = new Set(['secret', 'secretRef', 'secretKeyRef', 'imagePullSecrets']);

/** The names of the Secrets that a spec of ours refers to, at any depth. */
export function secretNamesOf(spec: unknown): Set<string> {
  const names = new Set<string>();
  const visit = (value: unknown, isReference: boolean): void => {
    if (Array.isArray(value)) {
      for (const item of value as unknown[]) visit(item, isReference);
    } else if (isObject(value)) {
      if (isReference && typeof value['name'] === 'string') names.add(value['name']);
      for (const [key, inner] of Object.entries(value)) {
        if (key === 'secretName' && typeof inner === 'string') names.add(inner);
        else visit(inner, REFERENCES.has(key));
      }
    }
  };
  visit(spec, false);
  return names;
}

/** Whether what authorize() allowed a node holds for the Secret it names. Memory is asked first, then the store. */
export async function authorizeNodeSecret(
  store: Pick<ResourceStore, 'list'>,
  user: User,
  { group, resource, verb, namespace, name }: Attributes,
): Promise<Decision> {
  const isAsked = group === '' && resource === 'secrets' && verb === 'get';
  if (!isAsked || !user.groups.includes(NODES) || user.groups.includes(MASTERS)) return { allowed: true, reason: '' };
  const node = nodeNameOf(user) ?? '';
  for (const read of [{ revision: 0 }, {}]) {
    const containers = await store.list(CONTAINERS, { namespace, ...read });
    const bound = containers.entries.filter(({ object }) => nodeOf(object['spec']) === node);
    const images = await store.list(IMAGES, { namespace, ...read });
    const isReferred = [...bound, ...images.entries].some(({ object }) => secretNamesOf(object['spec']).has(name));
    if (isReferred) return { allowed: true, reason: '' };
  }
  return {
    allowed: false,
    reason: `no Image of the namespace and no Container bound to node "${node}" refers to it`,
  };
}

function nodeOf(spec: unknown): unknown {
  return isObject(spec) ? spec['nodeName'] : undefined;
}
