// A CustomResourceDefinition as the resources it stands for, one per served version.
import { resourceFromCrd } from '../schema/crd.ts';
import type { CustomResourceDefinition, DefinitionNames } from './builtin/custom-resource-definition.ts';
import type { Resource } from './resource.ts';

/** The resources under the names that were accepted. Throws on a rule that does not compile. */
export function resourcesOfDefinition(definition: CustomResourceDefinition, names: DefinitionNames): Resource[] {
  const { spec } = definition;
  const storage = spec.versions.find((version) => version.storage) ?? spec.versions[0];
  const accepted = { ...definition, spec: { ...spec, names } };
  return spec.versions
    .filter((version) => version.served)
    .map((version) => {
      const isTerminating = definition.metadata.deletionTimestamp !== undefined;
      const resource = { ...resourceFromCrd(accepted, version.name), isTerminating };
      if (spec.versions.length === 1) return resource;
      // Without conversion, versions differ in their apiVersion alone; all are kept as the storage version.
      const apiVersion = `${spec.group}/${storage?.name ?? version.name}`;
      return {
        ...resource,
        stored: { group: spec.group, plural: names.plural },
        toStored: (object) => ({ ...object, apiVersion }),
      };
    });
}
