// What a node could not publish for Services, as an annotation of its Node: the agent writes it, the service controller
// reads it into the Services' conditions. Pure.
import type { Node } from '../../crds/builtin.ts';

const ANNOTATION = 'windlass.dev/port-conflicts';
/** An annotation is read by everybody who reads the Node. */
const MAX_SERVICES = 100;
const MAX_MESSAGE = 200;

/** Service (`namespace/name`) -> why, e.g. `port 80/TCP is taken by process 812 (nginx)`. */
export type PortConflicts = ReadonlyMap<string, string>;

/** The annotation, '' without a conflict. */
export function portConflictsAnnotation(conflicts: PortConflicts): Record<string, string> {
  const entries = [...conflicts].toSorted(([a], [b]) => (a < b ? -1 : 1)).slice(0, MAX_SERVICES);
  return {
    [ANNOTATION]: entries.length === 0 ? '' : JSON.stringify(Object.fromEntries(entries)),
  };
}

/**
 * What the Node says, as long as it is Ready: what a dead one has on its ports is nobody's concern. Nothing for what is no
 * such annotation, as it is data from another machine.
 */
export function portConflictsOf({ metadata, status }: Pick<Node, 'metadata' | 'status'>): PortConflicts {
  const isReady = status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True');
  if (!isReady) return new Map();
  const text = metadata.annotations?.[ANNOTATION] ?? '';
  if (text === '') return new Map();
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== 'object' || parsed === null) return new Map();
    return new Map(
      Object.entries(parsed)
        .slice(0, MAX_SERVICES)
        .flatMap(([service, why]: [string, unknown]) =>
          typeof why === 'string' ? [[service, why.slice(0, MAX_MESSAGE)] as const] : [],
        ),
    );
  } catch {
    return new Map();
  }
}
