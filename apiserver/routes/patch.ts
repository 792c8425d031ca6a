import { acceptBody } from '../admission/admit.ts';
import { badRequest, methodNotAllowed } from './api-errors.ts';
import type { Answer, ApiDeps, Call } from './call.ts';
import { parsePatch } from './patch-documents.ts';
import { renderObject } from './render.ts';
import { fieldValidationOf } from './request-options.ts';
import { isView } from './served.ts';
import { changeObject } from './write.ts';

/** PATCH of an object, or of its status. */
export async function handlePatch(deps: ApiDeps, call: Call): Promise<Answer> {
  const { resource, path } = call;
  if (isView(resource)) throw methodNotAllowed();
  const { apply, duplicates } = parsePatch(call.body, call.contentType, resource);
  const mode = fieldValidationOf(call.query);
  const target = { resource, namespace: path.namespace, name: path.name };
  const served = await changeObject(deps, call, (current) => {
    const { resourceVersion } = current.metadata;
    const patched = apply(current);
    if (patched === null || typeof patched !== 'object' || Array.isArray(patched)) {
      throw badRequest('the patch does not leave an object');
    }
    const object = acceptBody(patched as Record<string, unknown>, target, {
      mode,
      duplicates,
      warnings: call.warnings,
    });
    // A patch that does not speak of the version applies to whichever is there.
    if (object.metadata.resourceVersion === resourceVersion) delete object.metadata.resourceVersion;
    return object;
  });
  return renderObject(call, served, 200);
}
