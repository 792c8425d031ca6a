// GET images/{name}/log: the log of an Image's build, from the agent of the node that builds it.
import { agentAddressOf } from '../../crds/agent-address.ts';
import type { Node } from '../../crds/builtin.ts';
import { imageKind, PULL_NODE_ANNOTATION, type Image } from '../../crds/image.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { AgentConnections } from '../pods/agent-connection.ts';
import { checkLogOptions, passLog } from '../pods/log-handler.ts';
import type { SubresourceHandler } from '../resources/subresource.ts';
import type { ResourceStore } from '../storage/resource-store.ts';

const IMAGES = { group: imageKind.group, plural: imageKind.plural };
const NODES = { group: '', plural: 'nodes' };

/** The handler; the query is that of a Pod's log. */
export function createBuildLogHandler(
  store: Pick<ResourceStore, 'get'>,
  agents: Pick<AgentConnections, 'get'>,
): SubresourceHandler {
  return {
    ...{ group: imageKind.group, version: imageKind.version, plural: imageKind.plural },
    name: 'log',
    verbs: ['get'],
    async handle({ namespace, name, query, signal }) {
      checkLogOptions(query);
      const entry = await store.get(IMAGES, namespace, name, { signal });
      if (!entry) {
        const details = { name, group: imageKind.group, kind: imageKind.plural };
        throw new WindlassError('NotFound', `images.${imageKind.group} "${name}" not found`, { details });
      }
      const image = entry.object as unknown as Image;
      if (!image.spec.build) throw new WindlassError('BadRequest', `image "${name}" is not built: it has no log`);
      const nodeName = image.metadata.annotations?.[PULL_NODE_ANNOTATION];
      if (nodeName === undefined) {
        const ready = image.status?.conditions?.find(({ type }) => type === 'Ready');
        const why = ready?.message ? `: ${ready.message}` : '';
        throw new WindlassError('BadRequest', `no node builds image "${name}" yet${why}`);
      }
      const node = await store.get(NODES, '', nodeName, { signal });
      if (!node) throw new WindlassError('Unavailable', `node "${nodeName}" of image "${name}" is not in the cluster`);
      const address = agentAddressOf(node.object as unknown as Node);
      return passLog(agents, address, ['buildLogs', namespace, name, name], query, signal);
    },
  };
}
