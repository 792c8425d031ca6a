// What a test of Services says and sees by kubectl alone.
import type { Container } from '../../../crds/container.ts';
import { BUSYBOX } from '../cluster.ts';
import { waitFor } from '../wait.ts';
import type { BareHosts } from './bare-hosts.ts';

/** The machine is shared: what takes two seconds alone may take ten. */
export const SOON = { timeoutMs: 60_000, intervalMs: 100 };

export interface ByKubectl {
  /** kubectl with these words; it must succeed. */
  ask(...words: string[]): Promise<string>;
  /** Applies it as it is. */
  put(object: object): Promise<string>;
  /** Must be refused; answers what kubectl said. */
  refused(words: readonly string[], object?: object): Promise<string>;
  waitReady(...names: string[]): Promise<string>;
  objects<T>(...words: string[]): Promise<T[]>;
  replicasOf(service: string): Promise<Container[]>;
  /** Reason and message of a condition. */
  conditionOf(object: string, type?: string): Promise<string>;
  /** Waits until the Ready condition of `object` says it. */
  says(object: string, words: RegExp): Promise<void>;
}

export function createByKubectl({ kubectl, kubectlOk }: Pick<BareHosts, 'kubectl' | 'kubectlOk'>): ByKubectl {
  const ask: ByKubectl['ask'] = (...words) => kubectlOk(words, { timeoutMs: 100_000 });
  const objects = async <T>(...words: string[]): Promise<T[]> =>
    (JSON.parse(await ask('get', ...words, '-o', 'json')) as { items: T[] }).items;
  const conditionOf: ByKubectl['conditionOf'] = (object, type = 'Ready') =>
    ask('get', object, '-o', `jsonpath={.status.conditions[?(@.type=="${type}")]['reason','message']}`);
  return {
    ...{ ask, objects, conditionOf },
    put: (object) => kubectlOk(['apply', '--validate=false', '-f', '-'], { input: JSON.stringify(object) }),
    async refused(words, object) {
      const { code, stdout, stderr } = await kubectl(words, object ? { input: JSON.stringify(object) } : {});
      if (code === 0) throw new Error(`kubectl ${words.join(' ')} was not refused: ${stdout}`);
      return stderr;
    },
    waitReady: (...names) => ask('wait', '--for=condition=Ready', ...names, '--timeout=90s'),
    replicasOf: (service) => objects<Container>('ctr', '-l', `windlass.dev/service=${service}`),
    async says(object, words) {
      let last = '';
      const isSaid = async (): Promise<boolean> => words.test((last = await conditionOf(object)));
      await waitFor(isSaid, { ...SOON, what: `${object} saying ${words.source}` }).catch((error: Error) => {
        throw new Error(`${error.message}; it says: ${last}`);
      });
    },
  };
}

export interface ServiceWish {
  readonly replicas?: number;
  readonly ports?: readonly object[];
  /** Further fields of the Container's spec. */
  readonly template?: object;
  /** Further fields of the Service's spec. */
  readonly more?: object;
}

/** A Service whose replicas answer on 8080 with their names. */
export const serviceOf = (
  name: string,
  { replicas = 1, ports = [], template = {}, more = {} }: ServiceWish = {},
): { spec: object } => ({
  ...{ apiVersion: 'windlass.dev/v1', kind: 'Service', metadata: { name } },
  spec: {
    ...{ replicas, ports, ...more },
    template: {
      spec: { image: BUSYBOX, command: ['sh', '-c', SERVE], terminationGracePeriodSeconds: 0, ...template },
    },
  },
});

const SERVE = 'hostname >/tmp/index.html; exec httpd -f -p 8080 -h /tmp';
