// Keeps the registry equal to the CustomResourceDefinitions in the store, and says so in their conditions.
import { setTimeout as sleep } from 'node:timers/promises';
import { rfc3339, type Clock } from '../../lib/clock.ts';
import { isConflict, isNotFound, messageOf } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { objectKey } from '../storage/entry.ts';
import type { Entry, ResourceStore } from '../storage/resource-store.ts';
import {
  CLEANUP_FINALIZER,
  type CustomResourceDefinition,
  type DefinitionCondition,
  type DefinitionNames,
} from './builtin/custom-resource-definition.ts';
import { resourcesOfDefinition } from './from-definition.ts';
import type { ResourceRegistry } from './registry.ts';
import type { Resource } from './resource.ts';

const DEFINITIONS = { group: 'apiextensions.k8s.io', plural: 'customresourcedefinitions' } as const;
const RETRY_MS = 500;
const CLEANUP_MS = 1_000;

export interface CustomResources {
  /** Whether every definition that was stored at start is served. */
  isLoaded(): boolean;
  run(signal: AbortSignal): Promise<void>;
}

interface Deps {
  readonly store: ResourceStore;
  readonly registry: ResourceRegistry;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Serves nothing until run(). */
export function createCustomResources(deps: Deps): CustomResources {
  const { store, registry, log } = deps;
  let isLoaded = false;
  /** Definitions that wait for another one to give up a name. */
  const clashing = new Set<string>();

  async function settleNoting(definition: CustomResourceDefinition): Promise<void> {
    if (await settle(deps, definition)) clashing.delete(definition.metadata.name);
    else clashing.add(definition.metadata.name);
  }

  /** Looks again at the definitions that lost a name to one that may be gone now. */
  async function settleClashing(): Promise<void> {
    for (const name of clashing) {
      const entry = await store.get(DEFINITIONS, '', name, { revision: 0 });
      if (entry) await settleNoting(entry.clone() as CustomResourceDefinition);
      else clashing.delete(name);
    }
  }

  async function follow(signal: AbortSignal): Promise<void> {
    const { entries, revision } = await store.list(DEFINITIONS, { revision: 0 });
    const names = new Set(entries.map((entry) => entry.name));
    // Whoever had a name before this server started keeps it.
    const definitions = entries
      .map((entry) => entry.clone() as CustomResourceDefinition)
      .toSorted((a, b) => Number(isEstablished(b)) - Number(isEstablished(a)));
    for (const definition of definitions) await settleNoting(definition);
    for (const resource of registry.all()) {
      const owner = `${resource.plural}.${resource.group}`;
      if (resource.custom && !names.has(owner)) registry.set(owner, []);
    }
    isLoaded = true;
    for await (const batch of store.watch(DEFINITIONS, { revision }, signal)) {
      for (const event of batch.events) {
        if (event.type === 'DELETED') {
          clashing.delete(event.entry.name);
          registry.set(event.entry.name, []);
        } else {
          await settleNoting(event.entry.clone() as CustomResourceDefinition);
        }
        await settleClashing();
      }
    }
  }

  /** Definitions whose objects still wait for finalizers are looked at again until they are gone. */
  async function finishDeletions(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(CLEANUP_MS, undefined, { signal }).catch(() => undefined);
      if (signal.aborted || !isLoaded) continue;
      try {
        const { entries } = await store.list(DEFINITIONS, { revision: 0 });
        const leaving = entries.filter((entry) => entry.object.metadata.deletionTimestamp);
        for (const entry of leaving) await cleanUp(deps, entry.clone() as CustomResourceDefinition);
      } catch (error) {
        log.warn({ err: messageOf(error) }, 'failed to clean up after custom resource definitions');
      }
    }
  }

  async function followAll(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await follow(signal);
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ err: messageOf(error) }, 'failed to follow the custom resource definitions');
        await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  return {
    isLoaded: () => isLoaded,
    async run(signal) {
      await store.whenReady(signal).catch(() => undefined);
      await Promise.all([followAll(signal), finishDeletions(signal)]);
    },
  };
}

function isEstablished({ status }: CustomResourceDefinition): boolean {
  return status?.conditions?.some((each) => each.type === 'Established' && each.status === 'True') === true;
}

/** Serves one definition as it stands now, then writes its conditions. False when another one has its names. */
async function settle(deps: Deps, definition: CustomResourceDefinition): Promise<boolean> {
  const { registry, log } = deps;
  const { name } = definition.metadata;
  const clash = findClash(registry, definition);
  const names = definition.spec.names;
  let problem = clash;
  if (!clash) {
    try {
      registry.set(name, resourcesOfDefinition(definition, names));
    } catch (error) {
      problem = messageOf(error);
      log.error({ definition: name, err: error }, 'failed to serve a custom resource definition');
    }
  }
  if (problem !== undefined) registry.set(name, []);
  if (definition.metadata.deletionTimestamp) await cleanUp(deps, definition);
  else await writeStatus(deps, name, names, problem);
  return clash === undefined;
}

/** Another owner's resource with one of the wanted names, in words; undefined when there is none. */
function findClash(registry: ResourceRegistry, { metadata, spec }: CustomResourceDefinition): string | undefined {
  const isOwn = (resource: Resource): boolean => `${resource.plural}.${resource.group}` === metadata.name;
  for (const other of registry.all()) {
    if (other.group !== spec.group || isOwn(other)) continue;
    if (other.kind === spec.names.kind) return `${JSON.stringify(spec.names.kind)} is already in use`;
    const taken = new Set([other.plural, other.singular, ...other.shortNames]);
    const wanted = [spec.names.plural, spec.names.singular ?? '', ...(spec.names.shortNames ?? [])];
    const clash = wanted.find((word) => taken.has(word));
    if (clash) return `${JSON.stringify(clash)} is already in use`;
  }
  return undefined;
}

async function writeStatus(
  { store, clock }: Deps,
  name: string,
  acceptedNames: DefinitionNames,
  problem: string | undefined,
): Promise<void> {
  const now = rfc3339(clock.now());
  try {
    await store.guaranteedUpdate(DEFINITIONS, '', name, (entry) => {
      const object = entry.clone() as CustomResourceDefinition;
      const before = object.status?.conditions ?? [];
      const storage = object.spec.versions.find((version) => version.storage)?.name ?? 'v1';
      object.status = {
        ...object.status,
        conditions: [
          condition(before, now, 'NamesAccepted', problem === undefined, 'NoConflicts', 'no conflicts found', problem),
          condition(
            before,
            now,
            'Established',
            problem === undefined,
            'InitialNamesAccepted',
            'the initial names have been accepted',
            problem,
          ),
        ],
        ...(problem === undefined ? { acceptedNames } : {}),
        storedVersions: [...new Set([...(object.status?.storedVersions ?? []), storage])],
      };
      return { kind: 'put', object };
    });
  } catch (error) {
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
}

function condition(
  before: readonly DefinitionCondition[],
  now: string,
  type: string,
  isTrue: boolean,
  reason: string,
  message: string,
  problem: string | undefined,
): DefinitionCondition {
  const status = isTrue ? 'True' : 'False';
  const old = before.find((each) => each.type === type);
  const lastTransitionTime = old?.status === status ? old.lastTransitionTime : now;
  return { type, status, reason: isTrue ? reason : 'NotAccepted', message: problem ?? message, lastTransitionTime };
}

const MAX_NAMED = 10;

/** Says on a definition that is being deleted which of its objects keep it. */
async function writeTerminating({ store, clock }: Deps, name: string, left: readonly Entry[]): Promise<void> {
  const named = left.slice(0, MAX_NAMED).map((entry) => {
    const { finalizers = [] } = entry.object.metadata;
    return `${objectKey(entry.namespace, entry.name)} (finalizers: ${finalizers.join(', ')})`;
  });
  if (left.length > MAX_NAMED) named.push(`and ${left.length - MAX_NAMED} more`);
  const message = `still there: ${named.join(', ')}`;
  await store.guaranteedUpdate(DEFINITIONS, '', name, (entry) => {
    const object = entry.clone() as CustomResourceDefinition;
    const conditions = object.status?.conditions ?? [];
    const old = conditions.find(({ type }) => type === 'Terminating');
    const lastTransitionTime = old?.lastTransitionTime ?? rfc3339(clock.now());
    const condition = { type: 'Terminating', status: 'True', reason: 'InstanceDeletionInProgress', message } as const;
    object.status = {
      ...object.status,
      conditions: [...conditions.filter((each) => each !== old), { ...condition, lastTransitionTime }],
    };
    return { kind: 'put', object };
  });
}

/** A definition that is being deleted takes its objects with it; when none is left, it may go. */
async function cleanUp(deps: Deps, definition: CustomResourceDefinition): Promise<void> {
  const { metadata, spec } = definition;
  if (!metadata.finalizers?.includes(CLEANUP_FINALIZER)) return;
  const { store, registry } = deps;
  const collection = { group: spec.group, plural: spec.names.plural };
  const { entries } = await store.list(collection);
  for (const { namespace, name } of entries) {
    await store
      .guaranteedUpdate(collection, namespace, name, (entry) => {
        const object = entry.clone();
        if (!object.metadata.finalizers?.length) return { kind: 'delete' };
        object.metadata.deletionTimestamp ??= metadata.deletionTimestamp as string;
        return { kind: 'put', object };
      })
      .catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
  }
  const left = await store.list(collection);
  if (left.entries.length > 0) return writeTerminating(deps, metadata.name, left.entries);
  registry.set(metadata.name, []);
  await store.guaranteedUpdate(DEFINITIONS, '', metadata.name, (entry) => {
    const object = entry.clone();
    const finalizers = (object.metadata.finalizers ?? []).filter((each) => each !== CLEANUP_FINALIZER);
    if (finalizers.length === 0) return { kind: 'delete' };
    return { kind: 'put', object: { ...object, metadata: { ...object.metadata, finalizers } } };
  });
}
