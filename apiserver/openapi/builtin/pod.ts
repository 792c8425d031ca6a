// The Pod view: what kubectl reads of a Container that it asks for as a Pod.
import type { StructuralSchema } from '../../schema/structural.ts';
import {
  conditions,
  flag,
  int32,
  int64,
  intOrString,
  keyed,
  kind,
  list,
  object,
  open,
  quantities,
  text,
  textList,
  texts,
  time,
} from './fields.ts';

const state = object('State of the container; one of its fields is set.', {
  waiting: object('It does not run yet.', { reason: text('Why, in one word.'), message: text('Why.') }),
  running: object('It runs.', { startedAt: time('Since when.') }),
  terminated: object('It has ended.', {
    exitCode: int32('How.'),
    signal: int32('The signal that ended it.'),
    reason: text('Why, in one word.'),
    message: text('Why.'),
    startedAt: time('When it began.'),
    finishedAt: time('When it ended.'),
    containerID: text('Id of the container.'),
  }),
});

export const podSchemas: Readonly<Record<string, StructuralSchema>> = {
  '/Pod': kind('Pod shows a Container of windlass.dev to tools that know pods. It cannot be written.', {
    spec: object('What is wanted.', {
      containers: keyed(
        'The one container.',
        'name',
        object('A container.', {
          name: text('The name of the Container.'),
          image: text('Reference of the image.'),
          command: textList('Replaces the entry point of the image.'),
          args: textList('Replaces the command of the image.'),
          workingDir: text('Where it starts.'),
          env: keyed(
            'Environment.',
            'name',
            object('A variable.', {
              name: text('Name.'),
              value: text('Value.'),
              valueFrom: open('Where the value comes from.'),
            }),
          ),
          ports: keyed(
            'Ports it listens on.',
            'containerPort',
            object('A port.', {
              name: text('Name.'),
              containerPort: int32('Number in the container.'),
              hostPort: int32('Number on the node.'),
              hostIP: text('Address on the node.'),
              protocol: text('TCP or UDP.'),
            }),
          ),
          resources: object('What it may use.', { limits: quantities('At most.'), requests: quantities('At least.') }),
          volumeMounts: keyed('Mounts.', 'mountPath', open('A mount.')),
          stdin: flag('Whether input is kept open.'),
          tty: flag('Whether it has a terminal.'),
          imagePullPolicy: text('When the image is pulled.'),
          securityContext: open('Privileges.'),
        }),
      ),
      initContainers: keyed('Never any.', 'name', open('A container.')),
      volumes: keyed('Volumes.', 'name', open('A volume.')),
      nodeName: text('The node it is bound to.'),
      nodeSelector: texts('Labels the node must have.'),
      tolerations: list('Taints it puts up with.', open('A toleration.')),
      restartPolicy: text('When it is started again.'),
      terminationGracePeriodSeconds: int64('Seconds it may take to stop.'),
      hostNetwork: flag('Whether it has the network of the node.'),
      hostPID: flag('Whether it sees the processes of the node.'),
      hostname: text('Its host name.'),
      priority: int32('Its priority.'),
      serviceAccountName: text('Its identity.'),
    }),
    status: object('What is observed.', {
      phase: text('Pending, Running, Succeeded, Failed or Unknown.'),
      reason: text('Why, in one word.'),
      message: text('Why.'),
      hostIP: text('Address of the node.'),
      podIP: text('Its address.'),
      podIPs: keyed('Its addresses.', 'ip', object('An address.', { ip: text('The address.') })),
      startTime: time('When the node took it.'),
      qosClass: text('How it is treated when memory runs out.'),
      conditions: conditions({ lastProbeTime: time('When it was looked at last.') }),
      containerStatuses: list(
        'State of the container.',
        object('State of a container.', {
          name: text('Its name.'),
          image: text('Its image.'),
          imageID: text('Digest of the image.'),
          containerID: text('Id of the container.'),
          ready: flag('Whether it is ready.'),
          started: flag('Whether it has started.'),
          restartCount: int32('How often it was started again.'),
          state,
          lastState: state,
        }),
      ),
    }),
  }),
  'policy/Eviction': kind('Eviction asks for a pod to be removed from its node.', {
    deleteOptions: open('How to delete it.'),
  }),
  'autoscaling/Scale': kind('Scale is how many replicas something has.', {
    spec: object('What is wanted.', { replicas: int32('How many replicas.') }),
    status: object('What is observed.', {
      replicas: int32('How many replicas there are.'),
      selector: text('Labels of the replicas.'),
      targetSelector: intOrString('No longer used.'),
    }),
  }),
};
