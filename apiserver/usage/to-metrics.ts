// Usage in the words of metrics.k8s.io/v1beta1. Pure.
import type { Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import type { Usage } from '../../crds/usage.ts';
import { rfc3339 } from '../../lib/clock.ts';
import type { StoredObject } from '../resources/resource.ts';

export const METRICS_API = 'metrics.k8s.io/v1beta1';

/** NodeMetrics of `node`. */
export function nodeMetrics({ metadata }: Node, usage: Usage): StoredObject {
  return { ...head('NodeMetrics', metadata, usage), usage: quantities(usage) };
}

/** PodMetrics of the Pod that shows `container`. */
export function podMetrics({ metadata }: Container, usage: Usage): StoredObject {
  return {
    ...head('PodMetrics', metadata, usage),
    containers: [{ name: metadata.name, usage: quantities(usage) }],
  };
}

function head(kind: string, { name, namespace, labels }: Container['metadata'], { atMs, windowMs }: Usage) {
  return {
    apiVersion: METRICS_API,
    kind,
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      creationTimestamp: rfc3339(atMs),
      ...(labels ? { labels } : {}),
    },
    timestamp: rfc3339(atMs),
    window: `${(windowMs / 1000).toFixed(3)}s`,
  };
}

const quantities = ({ cpuCores, memoryBytes }: Usage): { cpu: string; memory: string } => ({
  cpu: `${Math.round(cpuCores * 1e9)}n`,
  memory: `${Math.round(memoryBytes / 1024)}Ki`,
});
