// The scale subresource: autoscaling/v1 Scale over the paths a CRD names.
// https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#scale-subresource
import type { ScalePaths, StoredObject } from '../resources/resource.ts';
import { badRequest, conflict, invalid, notFound, OBJECT_MODIFIED, pathNotFound } from './api-errors.ts';
import { collectionOf } from '../resources/registry.ts';
import { decodeBody } from './body.ts';
import { jsonAnswer, type Answer, type ApiDeps, type Call } from './call.ts';
import { parsePatch } from './patch-documents.ts';
import { serve } from './served.ts';
import { changeObject } from './write.ts';

interface Scale extends StoredObject {
  spec: { replicas?: number };
  status: { replicas: number; selector?: string };
}

/** GET, PUT or PATCH of `.../scale`. */
export async function handleScale(deps: ApiDeps, call: Call, verb: 'get' | 'update' | 'patch'): Promise<Answer> {
  const { resource, path } = call;
  const paths = resource.scale;
  if (!paths) throw pathNotFound();
  if (verb === 'get') {
    const entry = await deps.store.get(collectionOf(resource), path.namespace, path.name);
    if (!entry) throw notFound(resource, path.name);
    return jsonAnswer(200, toScale(serve(resource, entry).object, paths));
  }
  // The patch is one of the Scale, whatever kind of patch the resource itself takes.
  const edit =
    verb === 'patch'
      ? parsePatch(call.body, call.contentType, { ...resource, custom: true }).apply
      : (
          (body) => () =>
            body
        )(decodeBody(call.body, call.contentType).object);
  const served = await changeObject(deps, call, (current) => {
    const scale = toScale(current, paths);
    const { resourceVersion } = scale.metadata;
    const wanted = edit(scale) as Partial<Scale> | null;
    const version = wanted?.metadata?.resourceVersion;
    if (version && version !== resourceVersion) throw conflict(resource, path.name, OBJECT_MODIFIED);
    const name = wanted?.metadata?.name;
    if (name && name !== path.name) {
      throw badRequest(`the name of the object (${name}) does not match the name on the URL (${path.name})`);
    }
    setPath(current, paths.specReplicasPath, checkReplicas(wanted?.spec?.replicas ?? 0, path.name));
    delete current.metadata.resourceVersion;
    return current;
  });
  return jsonAnswer(200, toScale(served.object, paths));
}

function checkReplicas(replicas: unknown, name: string): number {
  if (Number.isInteger(replicas) && (replicas as number) >= 0) return replicas as number;
  const detail = Number.isInteger(replicas) ? 'must be greater than or equal to 0' : 'must be an integer';
  throw invalid({ group: 'autoscaling', kind: 'Scale' }, name, [
    { type: 'FieldValueInvalid', field: 'spec.replicas', value: replicas, detail },
  ]);
}

function toScale(object: StoredObject, paths: ScalePaths): Scale {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const replicas = getPath(object, paths.specReplicasPath);
  const selector = paths.labelSelectorPath === undefined ? undefined : getPath(object, paths.labelSelectorPath);
  return {
    apiVersion: 'autoscaling/v1',
    kind: 'Scale',
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    },
    spec: typeof replicas === 'number' ? { replicas } : {},
    status: {
      replicas: Number(getPath(object, paths.statusReplicasPath) ?? 0),
      ...(typeof selector === 'string' && selector !== '' ? { selector } : {}),
    },
  };
}

const steps = (path: string): string[] => path.split('.').filter(Boolean);

function getPath(object: unknown, path: string): unknown {
  let current: unknown = object;
  for (const step of steps(path)) current = (current as Record<string, unknown> | undefined)?.[step];
  return current;
}

function setPath(object: Record<string, unknown>, path: string, value: unknown): void {
  const names = steps(path);
  const last = names.pop() as string;
  let current = object;
  for (const name of names) current = (current[name] ??= {}) as Record<string, unknown>;
  current[last] = value;
}
