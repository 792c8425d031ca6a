import { isNotFound } from '../../lib/errors.ts';
import { collectionOf } from '../resources/registry.ts';
import { deleteObject, deleteOptionsOf } from './delete.ts';
import type { Answer, ApiDeps, Call } from './call.ts';
import { entryFilter, selectorOf } from './list.ts';
import { renderList } from './render.ts';
import { readOptionsOf } from './request-options.ts';
import { serve, type Served } from './served.ts';

const PARALLEL = 16;

/** DELETE of a collection: every object that the selectors leave. Answers the list of what was deleted or marked. */
export async function handleDeleteCollection(deps: ApiDeps, call: Call): Promise<Answer> {
  const { resource, path, query } = call;
  const options = deleteOptionsOf(call);
  const filter = entryFilter(call, selectorOf(call));
  const { entries, revision } = await deps.store.list(collectionOf(resource), {
    ...readOptionsOf(query),
    ...(path.namespace === '' ? {} : { namespace: path.namespace }),
    ...(filter ? { filter } : {}),
  });
  const items: Served[] = [];
  const queue = [...entries];
  const work = async (): Promise<void> => {
    for (let entry = queue.shift(); entry; entry = queue.shift()) {
      try {
        const result = await deleteObject(deps, call, entry.namespace, entry.name, options);
        items.push(serve(resource, result.entry));
      } catch (error) {
        // Somebody else was faster.
        if (!isNotFound(error)) throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, queue.length) }, work));
  return renderList(call, { items, revision });
}
