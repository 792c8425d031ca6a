// Node and Lease.
import type { StructuralSchema } from '../../schema/structural.ts';
import {
  conditions,
  flag,
  int32,
  int64,
  keyed,
  kind,
  list,
  object,
  open,
  oneOf,
  quantities,
  text,
  textList,
  textSet,
  time,
} from './fields.ts';

export const nodeSchemas: Readonly<Record<string, StructuralSchema>> = {
  '/Node': kind('Node is a machine that runs containers.', {
    spec: object('What is wanted.', {
      unschedulable: flag('When true, no new container is placed on it (kubectl cordon).'),
      podCIDR: text('Address range of the node.'),
      podCIDRs: textSet('Address ranges of the node.'),
      providerID: text('The machine in the terms of its provider.'),
      taints: {
        ...list(
          'Reasons for containers to stay away, unless they tolerate them.',
          object(
            'A taint.',
            {
              key: text('Name of the taint.'),
              value: text('Value that goes with it.'),
              effect: oneOf('What it does.', 'NoSchedule', 'PreferNoSchedule', 'NoExecute'),
              timeAdded: time('When it was added.'),
            },
            ['key', 'effect'],
          ),
        ),
      },
    }),
    status: object('What is observed.', {
      capacity: quantities('What the machine has.'),
      allocatable: quantities('What of it is there for containers.'),
      phase: text('No longer used.'),
      conditions: conditions({ lastHeartbeatTime: time('When the node said so last.') }),
      addresses: keyed(
        'How the node is reached.',
        'type',
        object('An address.', { type: text('InternalIP, ExternalIP, Hostname.'), address: text('The address.') }, [
          'type',
          'address',
        ]),
      ),
      daemonEndpoints: object('Listeners of the node agent.', {
        kubeletEndpoint: object('The listener for logs and exec.', { Port: int32('Its port.') }),
      }),
      nodeInfo: {
        ...open('The machine and its software.'),
        properties: {
          architecture: text('Processor architecture.'),
          operatingSystem: text('Operating system.'),
          osImage: text('Distribution.'),
          kernelVersion: text('Version of the kernel.'),
          containerRuntimeVersion: text('Name and version of the runtime.'),
          kubeletVersion: text('Version of the node agent.'),
          kubeProxyVersion: text('No longer used.'),
          machineID: text('Id of the machine.'),
          systemUUID: text('Id of the hardware.'),
          bootID: text('Id of this run of the kernel.'),
        },
      },
      images: list(
        'Images on the node.',
        object('An image.', { names: textList('References of it.'), sizeBytes: int64('Its size.') }),
      ),
      volumesInUse: textList('Volumes in use on the node.'),
    }),
  }),
  'coordination.k8s.io/Lease': kind('Lease says who holds a role, and until when: leaders and heartbeats.', {
    spec: object('The lease.', {
      holderIdentity: text('Who holds it.'),
      leaseDurationSeconds: int32('How long it holds after renewTime.'),
      acquireTime: time('When the holder got it.'),
      renewTime: time('When the holder renewed it last.'),
      leaseTransitions: int32('How often the holder changed.'),
      strategy: text('How a new holder is chosen.'),
      preferredHolder: text('Who should get it next.'),
    }),
  }),
};
