// Swarm's placement constraints: `node.labels.zone == east`, `node.role != manager`.
import type { Node } from '../../../crds/builtin.ts';
import type { Filter } from '../filter.ts';
import { archOf, osOf } from '../node-platform.ts';

/** All of placement.constraints hold for the node. */
export const constraints: Filter = (container, { node }) => {
  for (const text of container.spec.placement?.constraints ?? []) {
    const constraint = parseConstraint(text);
    if (!constraint) return { reason: `could not be compared with the constraint ${JSON.stringify(text)}` };
    const matches = constraint.value === (subjectOf(node, constraint.subject) ?? '');
    if (matches !== constraint.equal) return { reason: `did not satisfy the constraint ${text}` };
  }
  return undefined;
};

/** Splits a constraint; undefined when it is none. */
export function parseConstraint(text: string): { subject: string; equal: boolean; value: string } | undefined {
  const match = /^\s*(\S+?)\s*(==|!=)\s*(.*?)\s*$/.exec(text);
  if (!match?.[1] || !match[3]) return undefined;
  return { subject: match[1], equal: match[2] === '==', value: match[3] };
}

function subjectOf(node: Node, subject: string): string | undefined {
  const labels = node.metadata.labels ?? {};
  if (subject.startsWith('node.labels.')) return labels[subject.slice('node.labels.'.length)];
  if (subject.startsWith('engine.labels.')) return labels[subject.slice('engine.labels.'.length)];
  switch (subject) {
    case 'node.id':
      return node.metadata.uid;
    case 'node.name':
      return node.metadata.name;
    case 'node.hostname':
      return labels['kubernetes.io/hostname'] ?? node.metadata.name;
    case 'node.role':
      return 'node-role.kubernetes.io/control-plane' in labels ? 'manager' : 'worker';
    case 'node.platform.os':
      return osOf(node);
    case 'node.platform.arch':
      return archOf(node);
    default:
      return undefined;
  }
}
