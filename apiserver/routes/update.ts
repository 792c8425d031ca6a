import { acceptBody } from '../admission/admit.ts';
import { methodNotAllowed } from './api-errors.ts';
import { decodeBody } from './body.ts';
import type { Answer, ApiDeps, Call } from './call.ts';
import { renderObject } from './render.ts';
import { fieldValidationOf } from './request-options.ts';
import { isView } from './served.ts';
import { changeObject } from './write.ts';

/** PUT of an object, or of its status. */
export async function handleUpdate(deps: ApiDeps, call: Call): Promise<Answer> {
  const { resource, path } = call;
  if (isView(resource)) throw methodNotAllowed();
  const { object: body, duplicates } = decodeBody(call.body, call.contentType);
  const mode = fieldValidationOf(call.query);
  const served = await changeObject(deps, call, () =>
    acceptBody(
      structuredClone(body),
      { resource, namespace: path.namespace, name: path.name },
      { mode, duplicates, warnings: call.warnings },
    ),
  );
  return renderObject(call, served, 200);
}
