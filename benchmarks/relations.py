"""How well relations between the classes of two datasets are found, where the true ones are known.

Handwritten digits in two halves under the paper's two taxonomies (five seeds, mean ± deviation), the ablation of SLAMDUNKS, and
the same digits across two domains; or, with `--streets`, the label spaces of street scenes, drawn into a folder, with upstream
detectors trained for 120 steps. AP ranks all (K1 + 1)(K2 + 1) - 1 candidate relations, GED counts edges to add or delete, and
accuracy is over all pictures in the shared taxonomy. The paper's figures are for MNIST in two halves, and for MNIST with SVHN
(Tables 1 and 2): other pictures, and a pretrained ResNet-18.

    python benchmarks/relations.py [--parts halves domains ablation] [--seeds 5] [--json FILE]
    python benchmarks/relations.py --streets [FOLDER] [--datasets city nu way] [--methods slamdunks …] [--seeds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import torch
from markdown import Row, print_rows
from relations_digits import DigitPair, digit_pair, spread
from relations_streets import street_rows

from lat.relations.find import SlamdunksResult, find_by_slamdunks, find_relations
from lat.relations.metrics import average_precision, graph_edit_distance, shared_accuracy
from lat.relations.relation_matrix import RelationMatrix
from lat.relations.relation_settings import RELATION_METHODS, RelationSearch, RelationSettings, RelationTraining
from lat.relations.samples import LabeledSamples
from lat.street_scenes import SPACES

ABLATION_LAMBDA = 0.6
PAPER = {
    "slamdunks": ("1.0 ± 0.0", "0.0 ± 0.0"),
    "missing_link": ("0.8 ± 0.0", "-"),
    "aut": ("-", "5.4 ± 1.0"),
    "class_relational": ("-", "-"),
}
# AP and GED on MNIST-SVHN and on MNIST-SVHN-C: Table 1.
PAPER_DOMAINS = {
    "slamdunks": ("1.0 ± 0.0", "4.0 ± 2.2"),
    "missing_link": ("0.6 ± 0.1", "-"),
    "aut": ("-", "4.6 ± 7.8"),
    "class_relational": ("-", "-"),
}
PAPER_DOMAINS_C = {
    "slamdunks": ("0.7 ± 0.1", "8.8 ± 1.3"),
    "missing_link": ("0.6 ± 0.1", "-"),
    "aut": ("-", "6.2 ± 4.0"),
    "class_relational": ("-", "-"),
}
# AP and GED on MNIST-C by (pretrain, zero init, weighted sampling): Table 2.
PAPER_ABLATION = {
    (False, False, False): ("0.6 ± 0.2", "7.6 ± 4.3"),
    (True, False, False): ("0.4 ± 0.1", "11.4 ± 3.8"),
    (False, True, False): ("0.8 ± 0.0", "4.0 ± 0.0"),
    (True, True, False): ("1.0 ± 0.0", "0.0 ± 0.0"),
    (False, False, True): ("0.7 ± 0.1", "5.6 ± 2.7"),
    (True, False, True): ("0.5 ± 0.2", "10.8 ± 2.8"),
    (False, True, True): ("0.7 ± 0.1", "4.0 ± 0.0"),
    (True, True, True): ("1.0 ± 0.0", "0.0 ± 0.0"),
}


def run_slamdunks(pair: DigitPair, search: RelationSearch, seed: int) -> SlamdunksResult:
    torch.manual_seed(seed)
    parts = _inputs(pair)
    return find_by_slamdunks(*parts, search, torch.Generator().manual_seed(seed))


def _inputs(pair: DigitPair) -> tuple[LabeledSamples, LabeledSamples]:
    """Samples of one domain unchanged, those of two domains each with mean 0 and deviation 1."""
    if pair.is_one_domain:
        return pair.first, pair.second
    return pair.first.standardized(), pair.second.standardized()


def accuracy(pair: DigitPair, result: SlamdunksResult) -> float:
    """Share of all pictures whose universal class is right, by the classification head alone."""
    size = result.model.size
    parts = (result.model.universal_probabilities(part) for part in _inputs(pair))
    best = torch.cat(list(parts)).flatten(1).argmax(dim=1)
    i, j = best // (size.k2 + 1), best % (size.k2 + 1)
    predicted = torch.stack([torch.where(i == size.k1, -1, i), torch.where(j == size.k2, -1, j)], dim=1)
    return shared_accuracy(predicted, pair.shared_labels)


def digit_row(method: str, pairs: list[DigitPair], name: str, paper: tuple[str, str]) -> Row:
    found: list[RelationMatrix] = []
    accuracies, biases = [], []
    for seed, pair in enumerate(pairs):
        if method == "slamdunks":
            result = run_slamdunks(pair, RelationSearch(), seed)
            found.append(result.relations)
            accuracies.append(accuracy(pair, result))
            biases.append(float(result.standalone_bias.mean()))
        else:
            found.append(find_relations(pair.first, pair.second, RelationSettings(method=method), seed))
    scored = list(zip(found, pairs, strict=True))
    geds = [graph_edit_distance(one.edges, pair.true_edges) for one, pair in scored if one.edges is not None]
    return {
        "pair": name,
        "method": method,
        "AP": spread([average_precision(one.scores, pair.true_edges) for one, pair in scored]),
        "GED": spread([float(ged) for ged in geds], 1) if geds else "-",
        "accuracy": spread(accuracies) if accuracies else "-",
        "lambda": spread(biases) if biases else "-",
        "paper's AP": paper[0],
        "paper's GED": paper[1],
    }


def ablation_row(chosen: tuple[bool, bool, bool], pairs: list[DigitPair]) -> Row:
    pretrain, zero_init, weighted = chosen
    share = RelationTraining().pretrain_share if pretrain else 0.0
    training = RelationTraining(
        pretrain_share=share, zero_init=zero_init, weighted_sampling=weighted, standalone_bias=ABLATION_LAMBDA
    )
    search = RelationSearch(RelationSettings(), training)
    found = [run_slamdunks(pair, search, seed).relations for seed, pair in enumerate(pairs)]
    geds = [graph_edit_distance(one.edges, p.true_edges) for one, p in zip(found, pairs, strict=True) if one.edges is not None]
    marks = ["yes" if value else "" for value in chosen]
    return {
        "pretrain": marks[0],
        "zero init": marks[1],
        "weighted sampling": marks[2],
        "AP": spread([average_precision(one.scores, pair.true_edges) for one, pair in zip(found, pairs, strict=True)]),
        "GED": spread([float(ged) for ged in geds], 1),
        "paper's AP": PAPER_ABLATION[chosen][0],
        "paper's GED": PAPER_ABLATION[chosen][1],
    }


def halves_rows(seeds: int) -> list[Row]:
    """The two halves of the digits under the paper's taxonomies."""
    pairs = [digit_pair("custom", seed) for seed in range(seeds)]
    return [digit_row(method, pairs, "digits-C", PAPER[method]) for method in RELATION_METHODS]


def domains_rows(seeds: int) -> list[Row]:
    """Clean digits against scene text, with ten classes each and under the paper's taxonomies."""
    rows = []
    for taxonomies, name, paper in (("digits", "digits, text", PAPER_DOMAINS), ("custom", "digits, text-C", PAPER_DOMAINS_C)):
        pairs = [digit_pair(taxonomies, seed, scene_text=True) for seed in range(seeds)]
        rows += [digit_row(method, pairs, name, paper[method]) for method in RELATION_METHODS]
    return rows


def ablation_rows(seeds: int) -> list[Row]:
    """SLAMDUNKS on digits-C with one lambda for all classes, in eight variants, in the order of the paper's Table 2."""
    pairs = [digit_pair("custom", seed) for seed in range(seeds)]
    return [ablation_row((p, z, w), pairs) for w, z, p in product((False, True), repeat=3)]


PARTS = {"halves": halves_rows, "domains": domains_rows, "ablation": ablation_rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, help="number of seeds; 5, or 3 with --streets")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="tables of digits; default all")
    parser.add_argument("--streets", type=Path, nargs="?", const=Path("runs/benchmark_relations"), metavar="FOLDER")
    parser.add_argument("--datasets", nargs="+", choices=list(SPACES), default=["city", "nu", "way"], help="with --streets")
    parser.add_argument("--methods", nargs="+", choices=RELATION_METHODS, default=list(RELATION_METHODS), help="with --streets")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="also write the rows to FILE; for digits, with the part's name before the suffix",
    )
    options = parser.parse_args()
    if options.streets:
        print("\nstreets\n")
        rows = street_rows(options.streets, options.seeds or 3, tuple(options.datasets), tuple(options.methods))
        print_rows("relations_streets", rows, options.json)
        return
    for part in options.parts:
        print(f"\n{part}{f', lambda {ABLATION_LAMBDA}' if part == 'ablation' else ''}\n")
        rows = PARTS[part](options.seeds or 5)
        print_rows(f"relations_{part}", rows, options.json and options.json.with_suffix(f".{part}.json"))


if __name__ == "__main__":
    main()
