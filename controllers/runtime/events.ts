// What reconcilers tell people: Events on the object they are about.
import type { EventRecorder } from '../../client/events.ts';
import type { KubernetesObject } from '../../crds/kind.ts';

export interface NewEvent {
  readonly type: 'Normal' | 'Warning';
  /** One CamelCase word. */
  readonly reason: string;
  readonly message: string;
}

/** Takes an Event and writes it in the background: a lost Event never fails a reconciliation. */
export interface Events {
  record(about: KubernetesObject, event: NewEvent): void;
}

/** Events by way of `recorder`; the object says itself of what kind it is. */
export function createEvents(recorder: Pick<EventRecorder, 'record'>): Events {
  return {
    record(about, { type, reason, message }) {
      const [group, version] = about.apiVersion.includes('/') ? about.apiVersion.split('/') : ['', about.apiVersion];
      const kind = {
        group: group ?? '',
        version: version ?? '',
        kind: about.kind,
        plural: '',
        namespaced: about.metadata.namespace !== undefined,
      };
      recorder.record({ kind, metadata: about.metadata }, type, reason, message);
    },
  };
}
