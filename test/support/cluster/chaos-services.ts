// What runs in a cluster while it is broken at random: Services whose replicas answer with their names, scaled, updated and
// thinned out all the time, and one that would notice if its volume had two holders.
import { containerKind } from '../../../crds/container.ts';
import { serviceKind } from '../../../crds/service.ts';
import { isConflict, isNotFound, isUnavailable, reasonOf } from '../../../lib/errors.ts';
import { BUSYBOX, type Cluster } from '../cluster.ts';

export const CHAOS_PORT = 8080;
const HOLDER = 'holder';
const SHARED = ['web', 'api'] as const;
const MOST_REPLICAS = 5;
/** An overlay, on which `web` is; it is published too. */
export const CHAOS_OVERLAY = 'fabric';
export const CHAOS_PUBLISHED: ReadonlyMap<number, string> = new Map([[30081, 'web']]);

export interface ChaosServices {
  /** Replicas that each should have now. */
  readonly wanted: Map<string, number>;
  disturb(random: () => number): Promise<void>;
  /** What the volume's holders wrote when they met another one; empty when that never was. */
  violations(): Promise<string>;
}

const SERVE = `hostname >/tmp/index.html; exec httpd -f -p ${CHAOS_PORT} -h /tmp`;

/** Signs the volume, and looks whether somebody else has signed, also while it is being stopped. */
const HOLD = `me=$(cat /proc/sys/kernel/random/uuid); echo $me >/data/holder
  hostname >/tmp/index.html; httpd -p ${CHAOS_PORT} -h /tmp
  left=; trap 'left=10' TERM
  while [ "$left" != 0 ]; do
    [ "$(cat /data/holder)" = "$me" ] || echo "$me met $(cat /data/holder)" >>/data/violations
    sleep 0.05; [ -z "$left" ] || left=$((left - 1))
  done`;

/** Creates them. */
export async function startChaosServices(cluster: Cluster): Promise<ChaosServices> {
  const services = cluster.api.kind(serviceKind);
  const containers = cluster.api.kind(containerKind);
  const wanted = new Map<string, number>([...SHARED.map((name) => [name, 3] as const), [HOLDER, 1]]);
  const container = { image: BUSYBOX, terminationGracePeriodSeconds: 2 };
  const templates: Readonly<Record<string, object>> = {
    web: { ...container, command: ['sh', '-c', SERVE], networks: [{ name: CHAOS_OVERLAY }] },
    api: { ...container, command: ['sh', '-c', SERVE] },
    [HOLDER]: { ...container, command: ['sh', '-c', HOLD], mounts: [{ mountPath: '/data', volume: 'held' }] },
  };
  const portsOf = (name: string): object[] =>
    [...CHAOS_PUBLISHED].flatMap(([publishedPort, service]) =>
      service === name ? [{ port: 80, targetPort: CHAOS_PORT, publishedPort }] : [],
    );
  const make = (kind: string, name: string, spec: object): object => ({
    ...{ apiVersion: 'windlass.dev/v1', kind, metadata: { name }, spec },
  });
  const yaml = [
    make('Volume', 'held', {}),
    make('Network', CHAOS_OVERLAY, { driver: 'overlay' }),
    ...[...wanted].map(([name, replicas]) =>
      make('Service', name, {
        replicas,
        ports: portsOf(name),
        updateStrategy: { parallelism: 2, monitorSeconds: 0 },
        template: { spec: templates[name] },
      }),
    ),
  ];
  await cluster.put(yaml.map((one) => JSON.stringify(one)).join('\n---\n'));
  const change = async (act: () => Promise<unknown>): Promise<void> => {
    try {
      await act();
    } catch (error) {
      // The server may be away on purpose, or the object gone already.
      const isExpected =
        isUnavailable(error) || isNotFound(error) || isConflict(error) || reasonOf(error) === 'Timeout';
      if (!isExpected) throw error;
    }
  };
  return {
    wanted,
    async disturb(random) {
      const name = SHARED[Math.floor(random() * SHARED.length)] ?? 'web';
      const kind = random();
      const signal = AbortSignal.timeout(5_000);
      await change(async () => {
        if (kind < 0.4) {
          const replicas = Math.floor(random() * (MOST_REPLICAS + 1));
          // Whether it was taken is not known when the answer is lost: what is there in the end is asked for then.
          await services.mergePatch(name, 'default', { spec: { replicas } }, {}, signal);
        } else if (kind < 0.6) {
          const env = [{ name: 'ROUND', value: String(Math.floor(random() * 1e6)) }];
          await services.mergePatch(name, 'default', { spec: { template: { spec: { env } } } }, {}, signal);
        } else {
          const { items } = await containers.list({ namespace: 'default' }, signal);
          const victim = items[Math.floor(random() * items.length)];
          if (victim) await containers.delete(victim.metadata.name, 'default', {}, signal);
        }
      }).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    },
    async violations() {
      const { code, stdout } = await cluster.kubectl(['exec', `${HOLDER}-1`, '--', 'cat', '/data/violations']);
      return code === 0 ? stdout.trim() : '';
    },
  };
}

/** What the Services' specs say, now that the server answers. */
export async function readWanted(cluster: Cluster, { wanted }: ChaosServices): Promise<void> {
  const { items } = await cluster.api.kind(serviceKind).list({ namespace: 'default' });
  for (const { metadata, spec } of items) if (wanted.has(metadata.name)) wanted.set(metadata.name, spec.replicas ?? 1);
}
