// The part of the node rule that needs the store: an agent gets a Secret or a ConfigMap only where something that it runs,
// or may have to pull, refers to it. https://kubernetes.io/docs/reference/access-authn-authz/node/
import { isObject } from '../schema/objects.ts';
import type { ResourceStore } from '../storage/resource-store.ts';
import type { User } from './user.ts';
import { MASTERS, NODES, type Attributes, type Decision } from './authorize.ts';
import { nodeNameOf } from './node-rule.ts';

const CONTAINERS = { group: 'windlass.dev', plural: 'containers' } as const;
const IMAGES = { group: 'windlass.dev', plural: 'images' } as const;

/** Fields whose value is, or lists, references `{name}`, and those whose value is a name. */
const REFERENCES = {
  secrets: {
    objects: new Set(['secret', 'secretRef', 'secretKeyRef', 'imagePullSecrets']),
    names: new Set(['secretName']),
  },
  configmaps: { objects: new Set(['configMap', 'configMapRef', 'configMapKeyRef']), names: new Set<string>() },
} as const;
type DataKind = keyof typeof REFERENCES;

/** The names of the Secrets or ConfigMaps that a spec of ours refers to, at any depth. */
export function namesReferredTo(kind: DataKind, spec: unknown): Set<string> {
  const { objects, names: nameFields } = REFERENCES[kind];
  const names = new Set<string>();
  const visit = (value: unknown, isReference: boolean): void => {
    if (Array.isArray(value)) {
      for (const item of value as unknown[]) visit(item, isReference);
    } else if (isObject(value)) {
      if (isReference && typeof value['name'] === 'string') names.add(value['name']);
      for (const [key, inner] of Object.entries(value)) {
        if (nameFields.has(key) && typeof inner === 'string') names.add(inner);
        else visit(inner, objects.has(key));
      }
    }
  };
  visit(spec, false);
  return names;
}

/** Whether what authorize() allowed a node holds for the Secret or ConfigMap it names. Memory is asked first, then the store. */
export async function authorizeNodeData(
  store: Pick<ResourceStore, 'list'>,
  user: User,
  { group, resource, verb, namespace, name }: Attributes,
): Promise<Decision> {
  const kind = group === '' && verb === 'get' && isDataKind(resource) ? resource : undefined;
  if (kind === undefined || !user.groups.includes(NODES) || user.groups.includes(MASTERS))
    return { allowed: true, reason: '' };
  const node = nodeNameOf(user) ?? '';
  for (const read of [{ revision: 0 }, {}]) {
    const containers = await store.list(CONTAINERS, { namespace, ...read });
    const bound = containers.entries.filter(({ object }) => nodeOf(object['spec']) === node);
    const images = await store.list(IMAGES, { namespace, ...read });
    const isReferred = [...bound, ...images.entries].some(({ object }) =>
      namesReferredTo(kind, object['spec']).has(name),
    );
    if (isReferred) return { allowed: true, reason: '' };
  }
  return {
    allowed: false,
    reason: `no Image of the namespace and no Container bound to node "${node}" refers to it`,
  };
}

const isDataKind = (resource: string): resource is DataKind => resource in REFERENCES;

function nodeOf(spec: unknown): unknown {
  return isObject(spec) ? spec['nodeName'] : undefined;
}
