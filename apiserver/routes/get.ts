import { collectionOf } from '../resources/registry.ts';
import { notFound } from './api-errors.ts';
import type { Answer, ApiDeps, Call } from './call.ts';
import { renderObject } from './render.ts';
import { readOptionsOf } from './request-options.ts';
import { isServed, serve } from './served.ts';

/** GET of one object. */
export async function handleGet(deps: ApiDeps, call: Call): Promise<Answer> {
  const { resource, path } = call;
  const { revision } = readOptionsOf(call.query);
  const read = revision === undefined ? {} : { revision };
  const entry = await deps.store.get(collectionOf(resource), path.namespace, path.name, read);
  if (!entry || !isServed(resource, entry)) throw notFound(resource, path.name);
  return renderObject(call, serve(resource, entry), 200);
}
