"""How well relations between the classes of two datasets are found, where the true ones are known.

Handwritten digits in two halves under the paper's two taxonomies (five seeds, mean ± deviation), the ablation of SLAMDUNKS, the
same digits across two domains, and with `--config FILE [KEY=VALUE …]` the label spaces of a street-scene run whose upstream
detectors are trained (`lat street-scenes OUT`, `lat train-upstream OUT/config.yaml`). AP ranks all (K1 + 1)(K2 + 1) - 1 candidate
relations, GED counts edges to add or delete, accuracy is that of all pictures in the shared taxonomy. The paper's figures are of
MNIST in two halves (Tables 1 and 2): other pictures, a pretrained ResNet-18.

    python benchmarks/relations.py [--seeds 5] [--config FILE [KEY=VALUE …]] [--json FILE]
"""

from __future__ import annotations

import argparse
from itertools import combinations, product
from pathlib import Path

import torch
from markdown import Row, print_rows
from relations_digits import DigitPair, digit_pair
from relations_streets import mistaken, narrower_by_object, related_by_box, related_by_object

from lat.config import load_config
from lat.relations.find import SlamdunksResult, find_by_slamdunks, find_relations
from lat.relations.metrics import average_precision, directed_average_precision, graph_edit_distance, shared_accuracy
from lat.relations.relation_matrix import RelationMatrix
from lat.relations.samples import LabeledSamples
from lat.relations.settings import METHODS, RelationSettings
from lat.stages.relations import region_samples
from lat.stages.workspace import Workspace

ABLATION_LAMBDA = 0.6
PAPER = {
    "slamdunks": ("1.0 ± 0.0", "0.0 ± 0.0"),
    "missing_link": ("0.8 ± 0.0", "-"),
    "aut": ("-", "5.4 ± 1.0"),
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


def spread(values: list[float], digits: int = 2) -> str:
    """Mean ± standard deviation over seeds."""
    numbers = torch.tensor(values, dtype=torch.float64)
    return f"{numbers.mean():.{digits}f} ± {numbers.std(correction=0):.{digits}f}"


def run_slamdunks(pair: DigitPair, settings: RelationSettings, seed: int) -> SlamdunksResult:
    torch.manual_seed(seed)
    parts = _inputs(pair)
    return find_by_slamdunks(*parts, settings, torch.Generator().manual_seed(seed))


def _inputs(pair: DigitPair) -> tuple[LabeledSamples, LabeledSamples]:
    """Samples of one domain as they are, those of two domains each with mean 0 and deviation 1."""
    if pair.is_one_domain:
        return pair.first, pair.second
    return pair.first.standardized(), pair.second.standardized()


def accuracy(pair: DigitPair, result: SlamdunksResult) -> float:
    """Share of all pictures whose universal class, by the classification head alone, is the true one."""
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
            result = run_slamdunks(pair, RelationSettings(), seed)
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
    settings = RelationSettings(
        pretrain_steps=RelationSettings().pretrain_steps if pretrain else 0,
        zero_init=zero_init,
        weighted_sampling=weighted,
        standalone_bias=ABLATION_LAMBDA,
    )
    found = [run_slamdunks(pair, settings, seed).relations for seed, pair in enumerate(pairs)]
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


def street_rows(workspace: Workspace, seeds: int) -> list[Row]:
    """For each two label spaces and method, AP against both definitions and of directions; SLAMDUNKS also with a small lambda.

    Prints what class-relational BCE would take for positives by mistake, and what it would miss.
    """
    samples = {name: region_samples(workspace, name) for name in workspace.names}
    runs = [(method, RelationSettings(method=method)) for method in METHODS]
    runs.insert(1, ("slamdunks, lambda 0.1", RelationSettings(standalone_bias=0.1)))
    rows: list[Row] = []
    for a, b in combinations(workspace.names, 2):
        by_object = related_by_object(workspace.space(a), workspace.space(b))
        by_box = related_by_box(workspace, a, b)
        for name, settings in runs:
            found = [find_relations(samples[a], samples[b], settings, seed) for seed in range(seeds)]
            row: dict[str, object] = {"pair": f"{a}, {b}", "method": name}
            for title, truth in (("same object", by_object), ("same box", by_box)):
                geds = [float(graph_edit_distance(one.edges, truth)) for one in found if one.edges is not None]
                row[f"AP ({title})"] = spread([average_precision(one.scores, truth) for one in found], 3)
                row[f"GED ({title})"] = spread(geds, 1) if geds else "-"
            narrower = narrower_by_object(workspace.space(a), workspace.space(b))
            narrower_back = narrower_by_object(workspace.space(b), workspace.space(a))
            directed = [directed_average_precision(one, narrower, narrower_back) for one in found]
            row["AP (is a kind of)"] = spread(directed, 3)
            rows.append(row)
            if settings.method == "class_relational":
                print(f"{a}, {b}: {'; '.join(mistaken(found[0], settings.threshold)) or 'nothing false, nothing missed'}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="How well relations between the classes of two datasets are found.")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--config", nargs="+", metavar="FILE", help="a street-scene run, and settings as KEY=VALUE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to FILE, FILE.ablation and FILE.streets")
    options = parser.parse_args()
    custom = [digit_pair("custom", seed) for seed in range(options.seeds)]
    print("\nDigits in two halves, and across domains\n")
    rows = [digit_row(method, custom, "digits-C", PAPER[method]) for method in METHODS]
    for taxonomies, name in (("digits", "digits, scene text"), ("custom", "digits, scene text-C")):
        pairs = [digit_pair(taxonomies, seed, scene_text=True) for seed in range(options.seeds)]
        rows += [digit_row(method, pairs, name, ("", "")) for method in METHODS]
    print_rows("relations", rows, options.json)
    print(f"\nAblation of SLAMDUNKS on digits-C, lambda {ABLATION_LAMBDA}\n")
    table = [ablation_row((p, z, w), custom) for w, z, p in product((False, True), repeat=3)]
    print_rows("relations_ablation", table, options.json and options.json.with_suffix(".ablation.json"))
    if options.config:
        workspace = Workspace(load_config(Path(options.config[0]), options.config[1:]))
        print("\nStreet scenes\n")
        streets = street_rows(workspace, min(options.seeds, 3))
        print_rows("relations_streets", streets, options.json and options.json.with_suffix(".streets.json"))


if __name__ == "__main__":
    main()
