// The spec half of the Pod view: what a Container's spec has that a Pod's has too.
import type { Container } from '../../crds/container.ts';
import type { Mount } from '../../crds/container-mounts.ts';
import type { Pod } from './pod.ts';

/** The spec of the Pod that shows `container`. */
export function podSpec({ metadata, spec }: Container): Pod['spec'] {
  const mounts = (spec.mounts ?? []).map((mount, index) => ({ mount, name: `mount-${index}` }));
  return {
    containers: [
      defined({
        name: metadata.name,
        image: spec.image ?? spec.imageName,
        imagePullPolicy: spec.imagePullPolicy ?? 'IfNotPresent',
        command: spec.command,
        args: spec.args,
        workingDir: spec.workingDir,
        env: spec.env,
        envFrom: spec.envFrom,
        ports: spec.ports,
        resources: resourcesOf(spec.resources),
        volumeMounts: mounts.map(({ mount, name }) =>
          defined({
            name,
            mountPath: mount.mountPath,
            readOnly: mount.readOnly ? true : undefined,
            subPath: mount.subPath,
          }),
        ),
        stdin: spec.stdin ? true : undefined,
        stdinOnce: spec.stdinOnce ? true : undefined,
        tty: spec.tty ? true : undefined,
        securityContext: spec.securityContext && {
          privileged: spec.securityContext.privileged,
          readOnlyRootFilesystem: spec.securityContext.readOnlyRootFilesystem,
          allowPrivilegeEscalation: spec.securityContext.allowPrivilegeEscalation,
          ...(spec.securityContext.capabilities ? { capabilities: spec.securityContext.capabilities } : {}),
        },
        terminationMessagePath: '/dev/termination-log',
        terminationMessagePolicy: 'File',
      }),
    ],
    volumes: mounts.map(({ mount, name }) => ({ name, ...volumeSource(mount) })),
    restartPolicy: spec.restartPolicy ?? 'Always',
    ...defined({
      nodeName: spec.nodeName,
      nodeSelector: spec.nodeSelector,
      tolerations: spec.tolerations,
      hostNetwork: spec.hostNetwork ? true : undefined,
      hostPID: spec.hostPID ? true : undefined,
      hostIPC: spec.hostIPC ? true : undefined,
      hostname: spec.hostname,
      hostAliases: spec.hostAliases,
      imagePullSecrets: spec.imagePullSecrets,
      priority: spec.priority ?? 0,
      terminationGracePeriodSeconds: spec.terminationGracePeriodSeconds ?? 10,
      dnsPolicy: 'Default',
      enableServiceLinks: false,
    }),
  };
}

/** The nearest volume source that v1 has; the windlass object is named where v1 has none. */
function volumeSource(mount: Mount): Record<string, unknown> {
  if (mount.hostPath !== undefined) return { hostPath: { path: mount.hostPath } };
  if (mount.configMap) return { configMap: mount.configMap };
  if (mount.secret) {
    const { name, ...rest } = mount.secret;
    return { secret: { secretName: name, ...rest } };
  }
  if (mount.image) return { image: { reference: mount.image.reference } };
  if (mount.volume !== undefined) return { persistentVolumeClaim: { claimName: mount.volume } };
  if (mount.tmpfs) return { emptyDir: defined({ medium: 'Memory', sizeLimit: mount.tmpfs.sizeLimit }) };
  return { emptyDir: {} };
}

function resourcesOf(resources: Container['spec']['resources']): Record<string, unknown> {
  const { pids: _, ...limits } = resources?.limits ?? {};
  return {
    ...(Object.keys(limits).length > 0 ? { limits } : {}),
    ...(resources?.requests ? { requests: resources.requests } : {}),
  };
}

function defined(object: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}
