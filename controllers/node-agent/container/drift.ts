// Differences between what a running container should have and what it has, that can be mended in place. Pure.
import type { Container } from '../../../crds/container.ts';
import type { NetworkAttachment, OciImageConfig, PublishedPort, SandboxNetwork } from '../runtime/node-runtime.ts';
import { canonicalAddress } from '../../../lib/node-address.ts';
import type { DriftStep } from './plan.ts';
import { attachmentsOf, publishedPortsOf } from './sandbox-config.ts';
import { linuxResources, storageAnnotations } from './resources.ts';
import { canonicalJson } from './spec-hash.ts';

export interface DriftInput {
  readonly container: Container;
  readonly imageConfig: OciImageConfig;
  /** As the runtime reports it; undefined when it cannot tell. */
  readonly network: SandboxNetwork | undefined;
  /** canonicalJson of the resources the run has. */
  readonly appliedResources: string;
  /** attachmentKey() by network, as the sandbox was connected; a network that is not listed is not compared. */
  readonly appliedAttachments: ReadonlyMap<string, string>;
}

/** What is to be mended, in the order it is done: networks before the ports that need them. */
export function findDrift(input: DriftInput): DriftStep[] {
  const { container, network } = input;
  const steps: DriftStep[] = [];
  if (network && !container.spec.hostNetwork && container.spec.shareNamespaces?.network === undefined) {
    const wanted = attachmentsOf(container);
    const present = new Set(network.interfaces.map((one) => one.network));
    for (const attachment of wanted) {
      const { network: id } = attachment;
      const applied = input.appliedAttachments.get(id);
      if (!present.has(id)) steps.push({ kind: 'attach-network', network: id });
      // Another address or other aliases: disconnected here, connected anew by the next look.
      else if (applied !== undefined && applied !== attachmentKey(attachment))
        steps.push({ kind: 'detach-network', network: id });
    }
    const wantedIds = new Set(wanted.map((attachment) => attachment.network));
    for (const id of present) if (!wantedIds.has(id)) steps.push({ kind: 'detach-network', network: id });
    if (!hasPorts(network.ports, publishedPortsOf(container, input.imageConfig))) steps.push({ kind: 'update-ports' });
  }
  if (resourcesKey(container) !== input.appliedResources) steps.push({ kind: 'update-resources' });
  return steps;
}

/** Identity of a Container's resources, to compare what is wanted with what was applied. */
export const resourcesKey = ({ spec: { resources } }: Container): string =>
  canonicalJson({ ...linuxResources(resources), ...storageAnnotations(resources) });

/** Identity of an attachment, to compare what is wanted with what was applied. */
export const attachmentKey = (attachment: NetworkAttachment): string => canonicalJson(attachment);

/** attachmentKey() of all of them by network. */
export const attachmentKeys = (attachments: readonly NetworkAttachment[]): Map<string, string> =>
  new Map(attachments.map((attachment) => [attachment.network, attachmentKey(attachment)]));

/** The attachment of one network of `container`. */
export function attachmentFor(container: Container, networkId: string): NetworkAttachment | undefined {
  return attachmentsOf(container).find(({ network }) => network === networkId);
}

/** Whether `actual` publishes exactly `wanted`; a wanted host port of 0 is met by any. */
export function hasPorts(actual: readonly PublishedPort[], wanted: readonly PublishedPort[]): boolean {
  if (actual.length !== wanted.length) return false;
  const left = [...actual];
  // Exact ports first, so that a free choice does not take what another entry asks for by number.
  for (const want of wanted.toSorted((a, b) => Number(a.hostPort === 0) - Number(b.hostPort === 0))) {
    const index = left.findIndex(
      (have) =>
        have.containerPort === want.containerPort &&
        have.protocol === want.protocol &&
        isSameAddress(have.hostIp, want.hostIp) &&
        (want.hostPort === 0 || have.hostPort === want.hostPort),
    );
    if (index < 0) return false;
    left.splice(index, 1);
  }
  return true;
}

const isSameAddress = (a: string, b: string): boolean => canonicalAddress(a) === canonicalAddress(b);
