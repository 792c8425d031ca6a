// Opens a few connections at a time. All lists and watches of a process begin in one moment; when every node of a cluster does so, a
// server that gets to each handshake a little finishes none before its client has given up, and is asked for the next.
import type { buildConnector } from 'undici';

type Connector = buildConnector.connector;
type Arguments = Parameters<Connector>;

export interface Pace {
  /** Connections that are opened at the same time. */
  readonly limit: number;
  /** One that takes longer does not hold up the next: its server may be gone, and another one be asked by then. */
  readonly patienceMs: number;
}

/** As `connector`, in the order of the calls and at the given pace. Waiting does not count against its timeout. */
export function paceConnector(connector: Connector, { limit, patienceMs }: Pace): Connector {
  const waiting: Arguments[] = [];
  let open = 0;
  const next = (): void => {
    const call = open < limit ? waiting.shift() : undefined;
    if (!call) return;
    open += 1;
    const [target, callback] = call;
    let isCounted = true;
    const leave = (): void => {
      if (isCounted) open -= 1;
      isCounted = false;
      next();
    };
    const timer = setTimeout(leave, patienceMs).unref();
    const done = (...result: Parameters<Arguments[1]>): void => {
      clearTimeout(timer);
      callback(...result);
      leave();
    };
    try {
      connector(target, done);
    } catch (error) {
      done(error as Error, null);
    }
  };
  return (...call) => {
    waiting.push(call);
    next();
  };
}
