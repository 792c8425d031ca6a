// Scales a Service by the CPU that its Containers use: asks metrics.k8s.io, plans, writes spec.replicas through the scale
// subresource, and says in the Service's status why.
import { z } from 'zod';
import type { ApiClient } from '../../client/client.ts';
import type { Container } from '../../crds/container.ts';
import { serviceKind, type Service } from '../../crds/service.ts';
import { rfc3339, type Clock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import { parseQuantity } from '../../lib/quantity.ts';
import type { Cache, Index } from '../runtime/cache.ts';
import { findCondition, setConditions } from '../runtime/conditions.ts';
import type { Events } from '../runtime/events.ts';
import { isDeleting } from '../runtime/object-key.ts';
import type { Reconcile } from '../runtime/reconciler.ts';
import { createSightings, type Sightings } from '../runtime/sightings.ts';
import { writeStatus } from '../runtime/write.ts';
import { SERVICE_LABEL } from '../service/slots.ts';
import type { CpuUse } from './cpu-ratio.ts';
import { planAutoscale, type Recommendation } from './plan.ts';

export interface AutoscaleDeps {
  readonly client: ApiClient;
  readonly services: Cache<Service>;
  /** Containers by the UID of the Service that controls them. */
  readonly childrenOf: Index<Container>;
  /** Time from one look to the next. */
  readonly syncMs: number;
  readonly downWindowMs: number;
  readonly events: Events;
  readonly clock: Clock;
}

/** What is remembered of a Service; lost with this process, which only makes scaling down wait anew. */
interface Memory {
  readonly lookedAt: number;
  readonly generation: number | undefined;
  /** When it was scaled last, whether or not that could be written. */
  readonly scaledAt: string | undefined;
  readonly recommendations: readonly Recommendation[];
}

/** Agents that were not asked for a while measure a moment only, which is no load. */
const SHORTEST_WINDOW_MS = 5_000;

const OWN_CONDITIONS = new Set(['ScalingActive', 'ScalingLimited']);

/** Looks at one Service, at most once in `syncMs` unless its spec has changed. */
export function createAutoscaleReconciler(deps: AutoscaleDeps): { reconcile: Reconcile; forget(uid: string): void } {
  const { client, clock } = deps;
  const services = client.kind(serviceKind);
  const memories = new Map<string, Memory>();
  /** Of the Containers of each Service. */
  const starts = new Map<string, Sightings>();

  async function scale(service: Service, replicas: number, why: string, signal: AbortSignal): Promise<Service> {
    const { name, namespace, resourceVersion } = service.metadata;
    const patch = { metadata: { resourceVersion }, spec: { replicas } };
    const { metadata } = await services.mergePatch(name, namespace, patch, { subresource: 'scale' }, signal);
    const message = `scaled from ${service.spec.replicas} to ${replicas}: ${why}`;
    deps.events.record(service, { type: 'Normal', reason: 'SuccessfulRescale', message });
    return { ...service, metadata: { ...service.metadata, ...versionOf(metadata) } };
  }

  const reconcile: Reconcile = async (key, { signal }) => {
    const service = deps.services.get(key);
    if (!service || isDeleting(service)) return {};
    const { uid = '', generation } = service.metadata;
    if (!service.spec.autoscale) {
      memories.delete(uid);
      starts.delete(uid);
      await clearStatus(deps, service, signal);
      return {};
    }
    const memory = memories.get(uid);
    const now = clock.now();
    const waitMs = memory && memory.generation === generation ? memory.lookedAt + deps.syncMs - now : 0;
    if (waitMs > 0) return { requeueAfterMs: waitMs };

    const usage = await readUsage(client, service, signal);
    if (isTooShort(usage)) return { requeueAfterMs: SHORTEST_WINDOW_MS };
    const children = deps.childrenOf.get(uid);
    const seen = starts.get(uid) ?? createSightings(clock);
    starts.set(uid, seen);
    seen.retain(new Set(children.map(({ metadata }) => metadata.uid ?? '')));
    const plan = planAutoscale({
      service,
      children,
      runningForMs: ({ metadata, status }) => now - seen.since(metadata.uid ?? '', status?.startedAt ?? ''),
      usage,
      recommendations: memory?.recommendations ?? [],
      downWindowMs: deps.downWindowMs,
      now,
    });
    const isScaled = plan.replicas !== service.spec.replicas;
    const current = isScaled ? await scale(service, plan.replicas, plan.why, signal) : service;
    const scaledAt = isScaled ? rfc3339(now) : (memory?.scaledAt ?? service.status?.autoscale?.lastScaleTime);
    // A change of replicas is a new generation, but no reason to look again at once.
    memories.set(uid, {
      lookedAt: now,
      generation: isScaled && generation !== undefined ? generation + 1 : generation,
      scaledAt,
      recommendations: plan.recommendations,
    });
    const status = {
      autoscale: {
        desiredReplicas: plan.replicas,
        currentCpuPercent: plan.currentCpuPercent ?? null,
        ...(scaledAt === undefined ? {} : { lastScaleTime: scaledAt }),
      },
      conditions: setConditions(service.status?.conditions, plan.conditions, { now, generation }),
    };
    await writeStatus(services, current, status, signal);
    const active = plan.conditions.find(({ type }) => type === 'ScalingActive');
    if (active?.status === 'False' && findCondition(service, 'ScalingActive')?.reason !== active.reason) {
      deps.events.record(service, { type: 'Warning', reason: active.reason, message: active.message });
    }
    return { requeueAfterMs: deps.syncMs };
  };
  return { reconcile, forget: (uid) => void memories.delete(uid) };
}

const isTooShort = (usage: ReadonlyMap<string, CpuUse> | string): boolean =>
  typeof usage !== 'string' &&
  usage.size > 0 &&
  [...usage.values()].every(({ windowMs }) => windowMs < SHORTEST_WINDOW_MS);

const versionOf = ({ resourceVersion }: { resourceVersion?: string }): { resourceVersion?: string } =>
  resourceVersion === undefined ? {} : { resourceVersion };

async function clearStatus(deps: AutoscaleDeps, service: Service, signal: AbortSignal): Promise<void> {
  const { status } = service;
  const conditions = status?.conditions?.filter(({ type }) => !OWN_CONDITIONS.has(type));
  if (!status?.autoscale && conditions?.length === status?.conditions?.length) return;
  await writeStatus(deps.client.kind(serviceKind), service, { autoscale: null, conditions }, signal);
}

const PodMetricsList = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string() }),
      timestamp: z.string(),
      window: z.string(),
      containers: z.array(z.object({ usage: z.object({ cpu: z.string() }) })),
    }),
  ),
});

/** CPU use by the name of the Container, or why it cannot be had. */
async function readUsage(
  client: ApiClient,
  { metadata }: Service,
  signal: AbortSignal,
): Promise<Map<string, CpuUse> | string> {
  const selector = encodeURIComponent(`${SERVICE_LABEL}=${metadata.name}`);
  const path = `/apis/metrics.k8s.io/v1beta1/namespaces/${metadata.namespace}/pods?labelSelector=${selector}`;
  try {
    const { status, body } = await client.raw(path, signal);
    if (status !== 200) return `metrics.k8s.io answered with ${status}`;
    const { items } = PodMetricsList.parse(JSON.parse(body));
    return new Map(
      items.map((item) => [
        item.metadata.name,
        {
          cores: item.containers.reduce((sum, { usage }) => sum + parseQuantity(usage.cpu), 0),
          atMs: Date.parse(item.timestamp),
          windowMs: Number.parseFloat(item.window) * 1000,
        },
      ]),
    );
  } catch (error) {
    signal.throwIfAborted();
    return `metrics.k8s.io cannot be read: ${messageOf(error)}`;
  }
}
