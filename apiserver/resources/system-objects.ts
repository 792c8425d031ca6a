// Objects the cluster cannot be without: its namespaces and the CRDs of windlass.dev. Made at start, and the CRDs
// brought up to date when the files that describe them changed.
import { randomUUID } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse as parseYaml } from 'yaml';
import { rfc3339, type Clock } from '../../lib/clock.ts';
import { isAlreadyExists, messageOf } from '../../lib/errors.ts';
import { shortHash } from '../../lib/instance.ts';
import type { Logger } from '../../lib/log.ts';
import { PROTECTED_NAMESPACES } from '../admission/namespace-lifecycle.ts';
import type { ResourceStore } from '../storage/resource-store.ts';
import { KUBERNETES_FINALIZER } from './builtin/namespace.ts';
import type { StoredObject } from './resource.ts';

const NAMESPACES = { group: '', plural: 'namespaces' } as const;
const DEFINITIONS = { group: 'apiextensions.k8s.io', plural: 'customresourcedefinitions' } as const;
const HASH_ANNOTATION = 'windlass.dev/definition-hash';
const CHECK_MS = 10_000;
const RETRY_MS = 500;

interface Deps {
  readonly store: ResourceStore;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface SystemObjects {
  /** `plural.group` of the definitions. */
  readonly definitionNames: readonly string[];
  /** Makes what is missing, now and again every few seconds, until `signal` fires. */
  run(signal: AbortSignal): Promise<void>;
}

/** Reads what there has to be; makes nothing before run(). */
export function createSystemObjects(deps: Deps): SystemObjects {
  const definitions = readDefinitions();
  return {
    definitionNames: definitions.map(({ metadata }) => metadata.name),
    run: (signal) => keep(deps, definitions, signal),
  };
}

async function keep(deps: Deps, definitions: readonly StoredObject[], signal: AbortSignal): Promise<void> {
  await deps.store.whenReady(signal).catch(() => undefined);
  while (!signal.aborted) {
    let waitMs = CHECK_MS;
    try {
      for (const name of PROTECTED_NAMESPACES) await ensureNamespace(deps, name);
      for (const definition of definitions) await ensureDefinition(deps, definition);
    } catch (error) {
      deps.log.warn({ err: messageOf(error) }, 'failed to make the objects of the system');
      waitMs = RETRY_MS;
    }
    await sleep(waitMs, undefined, { signal }).catch(() => undefined);
  }
}

async function ensureNamespace({ store, clock, log }: Deps, name: string): Promise<void> {
  if (await store.get(NAMESPACES, '', name, { revision: 0 })) return;
  const object: StoredObject = {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: {
      name,
      uid: randomUUID(),
      creationTimestamp: rfc3339(clock.now()),
      labels: { 'kubernetes.io/metadata.name': name },
    },
    spec: { finalizers: [KUBERNETES_FINALIZER] },
    status: { phase: 'Active' },
  };
  await createIfAbsent(store, NAMESPACES, object);
  log.info({ namespace: name }, 'made namespace');
}

async function ensureDefinition({ store, clock, log }: Deps, definition: StoredObject): Promise<void> {
  const { name } = definition.metadata;
  const hash = shortHash(JSON.stringify(definition), 16);
  const present = await store.get(DEFINITIONS, '', name, { revision: 0 });
  if (present?.object.metadata.annotations?.[HASH_ANNOTATION] === hash) return;
  const annotations = { ...definition.metadata.annotations, [HASH_ANNOTATION]: hash };
  if (!present) {
    const metadata = { name, uid: randomUUID(), creationTimestamp: rfc3339(clock.now()), generation: 1, annotations };
    await createIfAbsent(store, DEFINITIONS, { ...definition, metadata });
  } else {
    await store.guaranteedUpdate(DEFINITIONS, '', name, (entry) => {
      const object = entry.clone();
      object['spec'] = definition['spec'];
      object.metadata.annotations = { ...object.metadata.annotations, ...annotations };
      object.metadata.generation = (object.metadata.generation ?? 1) + 1;
      return { kind: 'put', object };
    });
  }
  log.info({ definition: name }, 'installed custom resource definition');
}

async function createIfAbsent(
  store: ResourceStore,
  collection: typeof NAMESPACES | typeof DEFINITIONS,
  object: StoredObject,
): Promise<void> {
  try {
    await store.create(collection, object);
  } catch (error) {
    // Another server made it first.
    if (!isAlreadyExists(error)) throw error;
  }
}

function readDefinitions(): StoredObject[] {
  const folder = fileURLToPath(new URL('../../crds/', import.meta.url));
  return readdirSync(folder)
    .filter((file) => file.endsWith('.yaml'))
    .toSorted()
    .map((file) => parseYaml(readFileSync(folder + file, 'utf8')) as StoredObject);
}
