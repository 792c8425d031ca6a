// What the API server says of itself in Prometheus' text format, as counts by a short name.
import type { ApiClient } from '../../client/client.ts';

type Labels = Readonly<Record<string, string>>;

/** Metric -> the name of the count, by its labels; undefined for what is not of interest. */
const NAMES: Readonly<Record<string, (labels: Labels) => string | undefined>> = {
  apiserver_request_total: ({ verb = '', resource = '', subresource = '', code = '' }) =>
    verb === 'WATCH' || resource === ''
      ? undefined
      : `${verb} ${resource}${subresource === '' ? '' : `/${subresource}`}${code.startsWith('2') ? '' : ` (${code})`}`,
  apiserver_watch_events_total: ({ kind = '' }) => `event ${kind}`,
  etcd_request_duration_seconds_count: ({ operation = '' }) => `etcd ${operation}`,
};

/** The counts since its start. Throws when it does not answer. */
export async function readCounters(api: ApiClient): Promise<Map<string, number>> {
  const { status, body } = await api.raw('/metrics');
  if (status !== 200) throw new Error(`/metrics was answered with ${status}`);
  const counts = new Map<string, number>();
  for (const line of body.split('\n')) {
    const [, metric = '', labels = '', value = ''] = /^(\w+)\{(.*)\} (\S+)$/.exec(line) ?? [];
    const name = NAMES[metric]?.(parseLabels(labels));
    if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + Number(value));
  }
  return counts;
}

const parseLabels = (text: string): Labels =>
  Object.fromEntries([...text.matchAll(/(\w+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name, value]));
