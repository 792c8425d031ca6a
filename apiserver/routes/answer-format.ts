// What the client can read: the Accept header against what this server writes.
import { WindlassError } from '../../lib/errors.ts';
import { negotiate, type Offer } from '../discovery/negotiate.ts';

export interface Format {
  readonly encoding: 'json' | 'yaml';
  readonly as: 'object' | 'table' | 'metadata';
  /** Version of meta.k8s.io for tables and metadata. */
  readonly version: 'v1' | 'v1beta1';
}

type FormatOffer = Offer & { readonly format: Format };

/** Forms by the parameters that ask for them; plain objects first, for a client that takes anything. */
const FORMS: readonly (readonly [Format['as'], Readonly<Record<string, string>> | undefined])[] = [
  ['object', undefined],
  ['object', { stream: 'watch' }],
  ['table', { as: 'Table' }],
  ['metadata', { as: 'PartialObjectMetadata' }],
  ['metadata', { as: 'PartialObjectMetadataList' }],
];

const OFFERS: readonly FormatOffer[] = ['application/json', 'application/yaml', 'text/yaml'].flatMap((type) =>
  (['v1', 'v1beta1'] as const).flatMap((version) =>
    FORMS.map(([as, parameters]) => ({
      type,
      ...(parameters && {
        parameters: parameters['as'] ? { ...parameters, g: 'meta.k8s.io', v: version } : parameters,
      }),
      format: { encoding: type === 'application/json' ? 'json' : 'yaml', as, version } as const,
    })),
  ),
);
const OFFERS_WITHOUT_TABLES = OFFERS.filter(({ format }) => format.as !== 'table');

/** The best format for `accept`; NotAcceptable when nothing fits. `tables` is false where a Table makes no sense. */
export function chooseFormat(accept: string, { tables = true }: { tables?: boolean } = {}): Format {
  const offer = negotiate(accept, tables ? OFFERS : OFFERS_WITHOUT_TABLES);
  if (offer) return offer.format;
  throw new WindlassError(
    'NotAcceptable',
    'only the following media types are accepted: application/json, application/yaml, application/json;as=Table;v=v1;g=meta.k8s.io, application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io, application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io',
  );
}
