PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE campaign (
	id INTEGER NOT NULL, 
	seed BIGINT NOT NULL, 
	num_candidates BIGINT NOT NULL, 
	proposers JSON NOT NULL, 
	model TEXT NOT NULL, 
	settings TEXT NOT NULL, 
	created_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	CONSTRAINT pk_campaign PRIMARY KEY (id)
);
INSERT INTO "campaign" VALUES(1,7,100,'["grammar", "baseline"]','probe','{"lag":8}','2026-11-29 18:59:28');
CREATE TABLE candidate (
	id INTEGER NOT NULL, 
	campaign_id INTEGER NOT NULL, 
	step BIGINT NOT NULL, 
	source_digest TEXT NOT NULL, 
	"values" JSON NOT NULL, 
	proposer TEXT NOT NULL, 
	operator TEXT NOT NULL, 
	parents JSON NOT NULL, 
	rationale TEXT NOT NULL, 
	prompt_tokens BIGINT NOT NULL, 
	completion_tokens BIGINT NOT NULL, 
	dollars DOUBLE NOT NULL, 
	elapsed_s DOUBLE NOT NULL, 
	status TEXT NOT NULL, 
	message TEXT NOT NULL, 
	program_digest TEXT, 
	name TEXT NOT NULL, 
	created_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, conversation BLOB, 
	CONSTRAINT pk_candidate PRIMARY KEY (id), 
	CONSTRAINT uq_candidate_campaign_id UNIQUE (campaign_id, step), 
	CONSTRAINT fk_candidate_campaign_id FOREIGN KEY(campaign_id) REFERENCES campaign (id), 
	CONSTRAINT fk_candidate_source_digest FOREIGN KEY(source_digest) REFERENCES source (digest), 
	CONSTRAINT fk_candidate_program_digest FOREIGN KEY(program_digest) REFERENCES program (digest)
);
INSERT INTO "candidate" VALUES(1,1,0,'fc3f856d40b43159','[]','grammar','mutate','[]','',0,0,0.0,0.0,'ok','','p0','P0','2026-11-29 18:59:28',NULL);
INSERT INTO "candidate" VALUES(2,1,1,'94d5c1f0d7fcdd97','[]','grammar','mutate','["p0"]','smaller steps',0,0,0.0,0.0,'ok','','p1','P1','2026-11-29 18:59:28',NULL);
INSERT INTO "candidate" VALUES(3,1,2,'1d27ffe785c2b33c','[]','grammar','mutate','[]','',0,0,0.0,0.0,'program_error','',NULL,'','2026-11-29 18:59:29',NULL);
CREATE TABLE candidate_evaluation (
	candidate_id INTEGER NOT NULL, 
	evaluation_id INTEGER NOT NULL, 
	CONSTRAINT pk_candidate_evaluation PRIMARY KEY (candidate_id, evaluation_id), 
	CONSTRAINT fk_candidate_evaluation_candidate_id FOREIGN KEY(candidate_id) REFERENCES candidate (id), 
	CONSTRAINT fk_candidate_evaluation_evaluation_id FOREIGN KEY(evaluation_id) REFERENCES evaluation (id)
);
INSERT INTO "candidate_evaluation" VALUES(1,1);
INSERT INTO "candidate_evaluation" VALUES(1,2);
INSERT INTO "candidate_evaluation" VALUES(1,3);
INSERT INTO "candidate_evaluation" VALUES(2,4);
INSERT INTO "candidate_evaluation" VALUES(2,5);
CREATE TABLE environment (
	digest TEXT NOT NULL, 
	definition JSON NOT NULL, 
	CONSTRAINT pk_environment PRIMARY KEY (digest)
);
INSERT INTO "environment" VALUES('a7e83f104ea88056','{"device": "Xeon", "driver": "", "python": "3.11.2", "torch": "2.13.0", "vllm": "0.32.0", "commit": "abc", "dtype": "float32"}');
CREATE TABLE evaluation (
	id INTEGER NOT NULL, 
	program_digest TEXT NOT NULL, 
	stage TEXT NOT NULL, 
	workload_digest TEXT NOT NULL, 
	model_digest TEXT NOT NULL, 
	environment_digest TEXT NOT NULL, 
	evaluator_version TEXT NOT NULL, 
	seed BIGINT NOT NULL, 
	repeat BIGINT NOT NULL, 
	owner TEXT, 
	lease_until DOUBLE, 
	num_deaths BIGINT NOT NULL, 
	status TEXT, 
	message TEXT NOT NULL, 
	correct TEXT NOT NULL, 
	answers TEXT NOT NULL, 
	elapsed_s DOUBLE NOT NULL, 
	finished_at DATETIME, begun BOOLEAN DEFAULT 0 NOT NULL, "commit" TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_evaluation PRIMARY KEY (id), 
	CONSTRAINT uq_evaluation_key UNIQUE (program_digest, stage, workload_digest, model_digest, environment_digest, evaluator_version, seed, repeat), 
	CONSTRAINT ck_evaluation_lease CHECK ((owner IS NULL) = (lease_until IS NULL)), 
	CONSTRAINT ck_evaluation_finished_or_leased CHECK (owner IS NULL OR status IS NULL), 
	CONSTRAINT fk_evaluation_program_digest FOREIGN KEY(program_digest) REFERENCES program (digest), 
	CONSTRAINT fk_evaluation_workload_digest FOREIGN KEY(workload_digest) REFERENCES workload (digest)
);
INSERT INTO "evaluation" VALUES(1,'p0','probe','21f80893b2d94031','model','a7e83f104ea88056','1',0,0,NULL,NULL,0,'ok','why','0110','a1b2',0.25,'2026-11-29 18:59:28',0,'abc');
INSERT INTO "evaluation" VALUES(2,'p0','probe','83504a3b29d413f0','model','a7e83f104ea88056','1',0,0,NULL,NULL,0,'ok','why','0110','a1b2',0.25,'2026-11-29 18:59:28',0,'abc');
INSERT INTO "evaluation" VALUES(3,'p0','serve','7450fa8d0ef489a6','model','a7e83f104ea88056','1',0,0,NULL,NULL,0,'ok','why','0110','a1b2',0.25,'2026-11-29 18:59:28',0,'abc');
INSERT INTO "evaluation" VALUES(4,'p1','probe','21f80893b2d94031','model','a7e83f104ea88056','1',0,0,NULL,NULL,0,'ok','why','0110','a1b2',0.25,'2026-11-29 18:59:28',0,'abc');
INSERT INTO "evaluation" VALUES(5,'p1','serve','7450fa8d0ef489a6','model','a7e83f104ea88056','1',0,0,'doomed',56847.236229605,0,NULL,'','','',0.0,NULL,1,'');
CREATE TABLE hypothesis (
	candidate_id INTEGER NOT NULL, 
	position BIGINT NOT NULL, 
	text TEXT NOT NULL, 
	prediction TEXT NOT NULL, 
	CONSTRAINT pk_hypothesis PRIMARY KEY (candidate_id, position), 
	CONSTRAINT fk_hypothesis_candidate_id FOREIGN KEY(candidate_id) REFERENCES candidate (id)
);
CREATE TABLE measurement (
	evaluation_id INTEGER NOT NULL, 
	position BIGINT NOT NULL, 
	name TEXT NOT NULL, 
	value DOUBLE, 
	low DOUBLE, 
	high DOUBLE, 
	num_samples BIGINT NOT NULL, 
	CONSTRAINT pk_measurement PRIMARY KEY (evaluation_id, position), 
	CONSTRAINT fk_measurement_evaluation_id FOREIGN KEY(evaluation_id) REFERENCES evaluation (id)
);
INSERT INTO "measurement" VALUES(1,0,'accuracy',0.9,0.8,0.95,36);
INSERT INTO "measurement" VALUES(1,1,'pages_attended',100.0,NULL,NULL,1);
INSERT INTO "measurement" VALUES(2,0,'accuracy',0.85,0.7,0.9,36);
INSERT INTO "measurement" VALUES(3,0,'speedup',1.5,1.4,1.6,36);
INSERT INTO "measurement" VALUES(4,0,'accuracy',0.6,0.5,0.7,36);
CREATE TABLE note (
	candidate_id INTEGER NOT NULL, 
	position BIGINT NOT NULL, 
	kind TEXT NOT NULL, 
	text TEXT NOT NULL, 
	CONSTRAINT pk_note PRIMARY KEY (candidate_id, position), 
	CONSTRAINT fk_note_candidate_id FOREIGN KEY(candidate_id) REFERENCES candidate (id)
);
CREATE TABLE program (
	digest TEXT NOT NULL, 
	source_digest TEXT NOT NULL, 
	"values" JSON NOT NULL, 
	name TEXT NOT NULL, 
	first_seen_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	CONSTRAINT pk_program PRIMARY KEY (digest), 
	CONSTRAINT fk_program_source_digest FOREIGN KEY(source_digest) REFERENCES source (digest)
);
INSERT INTO "program" VALUES('p0','fc3f856d40b43159','[]','P0','2026-11-29 18:59:28');
INSERT INTO "program" VALUES('p1','94d5c1f0d7fcdd97','[]','P1','2026-11-29 18:59:28');
CREATE TABLE question (
	id TEXT NOT NULL, 
	campaign_id INTEGER NOT NULL, 
	step BIGINT NOT NULL, 
	proposer TEXT NOT NULL, 
	model TEXT NOT NULL, 
	dollars DOUBLE NOT NULL, 
	heard BOOLEAN DEFAULT 0 NOT NULL, 
	created_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	CONSTRAINT pk_question PRIMARY KEY (id), 
	CONSTRAINT fk_question_campaign_id FOREIGN KEY(campaign_id) REFERENCES campaign (id)
);
CREATE TABLE remark (
	id INTEGER NOT NULL, 
	candidate_id INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	text TEXT NOT NULL, 
	created_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	CONSTRAINT pk_remark PRIMARY KEY (id), 
	CONSTRAINT uq_remark_candidate_id UNIQUE (candidate_id, kind, text), 
	CONSTRAINT ck_remark_ck_remark_kind CHECK (kind IN ('tag', 'note')), 
	CONSTRAINT fk_remark_candidate_id FOREIGN KEY(candidate_id) REFERENCES candidate (id)
);
CREATE TABLE source (
	digest TEXT NOT NULL, 
	text TEXT NOT NULL, 
	CONSTRAINT pk_source PRIMARY KEY (digest)
);
INSERT INTO "source" VALUES('fc3f856d40b43159','class p0: ...');
INSERT INTO "source" VALUES('94d5c1f0d7fcdd97','class p1: ...');
INSERT INTO "source" VALUES('1d27ffe785c2b33c','class Odd');
CREATE TABLE standing (
	id INTEGER NOT NULL, 
	candidate_id INTEGER NOT NULL, 
	campaign_id INTEGER NOT NULL, 
	program_digest TEXT NOT NULL, 
	ratio DOUBLE NOT NULL, 
	lengths TEXT NOT NULL, 
	model_digest TEXT NOT NULL, 
	environment_digest TEXT NOT NULL, 
	evaluator_version TEXT NOT NULL, 
	fitted_digest TEXT NOT NULL, 
	workload TEXT NOT NULL, 
	device TEXT NOT NULL, 
	status TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	retrieval_lengths TEXT NOT NULL, 
	accuracy_lengths TEXT NOT NULL, 
	target TEXT NOT NULL, 
	mixed_lengths BOOLEAN NOT NULL, 
	confirmed BOOLEAN NOT NULL, 
	accuracy DOUBLE, 
	accuracy_low DOUBLE, 
	accuracy_high DOUBLE, 
	kl DOUBLE, 
	kl_low DOUBLE, 
	kl_high DOUBLE, 
	perplexity_ratio DOUBLE, 
	perplexity_ratio_low DOUBLE, 
	perplexity_ratio_high DOUBLE, 
	retrieval DOUBLE, 
	retrieval_low DOUBLE, 
	retrieval_high DOUBLE, 
	retrieval_loss DOUBLE, 
	retrieval_loss_low DOUBLE, 
	retrieval_loss_high DOUBLE, 
	task_loss DOUBLE, 
	task_loss_low DOUBLE, 
	task_loss_high DOUBLE, 
	speedup DOUBLE, 
	speedup_low DOUBLE, 
	speedup_high DOUBLE, 
	confirmed_accuracy DOUBLE, 
	confirmed_accuracy_low DOUBLE, 
	confirmed_accuracy_high DOUBLE, 
	confirmed_kl DOUBLE, 
	confirmed_kl_low DOUBLE, 
	confirmed_kl_high DOUBLE, 
	confirmed_retrieval_loss DOUBLE, 
	confirmed_retrieval_loss_low DOUBLE, 
	confirmed_retrieval_loss_high DOUBLE, 
	cost_ratio DOUBLE, 
	budget DOUBLE, 
	recall DOUBLE, 
	agreement DOUBLE, 
	dense_retrieval DOUBLE, 
	modelled_speedup DOUBLE, 
	pages_attended DOUBLE, 
	bytes_per_page DOUBLE, dtype TEXT DEFAULT '' NOT NULL, place BLOB DEFAULT '' NOT NULL, 
	CONSTRAINT pk_standing PRIMARY KEY (id), 
	CONSTRAINT uq_standing_campaign_id UNIQUE (campaign_id, program_digest, ratio, lengths, model_digest, environment_digest, evaluator_version), 
	CONSTRAINT fk_standing_candidate_id FOREIGN KEY(candidate_id) REFERENCES candidate (id), 
	CONSTRAINT fk_standing_campaign_id FOREIGN KEY(campaign_id) REFERENCES campaign (id), 
	CONSTRAINT fk_standing_program_digest FOREIGN KEY(program_digest) REFERENCES program (digest)
);
INSERT INTO "standing" VALUES(1,1,1,'p0',0.0,'512','model','a7e83f104ea88056','1','p0','a0646f93e4e31cc3','Xeon','ok','','','512','',0,1,0.9,0.8,0.95,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.5,1.4,1.6,0.85,0.7,0.9,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,100.0,NULL,'float32',X'01800000000000000000FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF40133333333333324007FFFFFFFFFFFFFFFFFFFFFFFFFFFF000000000000000161376538336631303465613838303536B596AD1680FF9728');
INSERT INTO "standing" VALUES(2,2,1,'p1',0.0,'','model','a7e83f104ea88056','1','p1','a0646f93e4e31cc3','Xeon','ok','','','512','',0,0,0.6,0.5,0.7,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'float32',X'01800000000000000000FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF401CCCCCCCCCCCCCFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF0000000000000002613765383366313034656138383035367AC8C6BCDB42CDC0');
CREATE TABLE submission (
	id INTEGER NOT NULL, 
	campaign_id INTEGER NOT NULL, 
	step BIGINT, 
	source_digest TEXT NOT NULL, 
	"values" JSON NOT NULL, 
	proposer TEXT NOT NULL, 
	operator TEXT NOT NULL, 
	parents JSON NOT NULL, 
	rationale TEXT NOT NULL, 
	hypotheses JSON NOT NULL, 
	notes JSON NOT NULL, 
	created_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	CONSTRAINT pk_submission PRIMARY KEY (id), 
	CONSTRAINT uq_submission_campaign_id UNIQUE (campaign_id, step), 
	CONSTRAINT fk_submission_campaign_id FOREIGN KEY(campaign_id) REFERENCES campaign (id), 
	CONSTRAINT fk_submission_source_digest FOREIGN KEY(source_digest) REFERENCES source (digest)
);
CREATE TABLE tally (
	campaign_id INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	name TEXT NOT NULL, 
	number DOUBLE NOT NULL, 
	CONSTRAINT pk_tally PRIMARY KEY (campaign_id, kind, name), 
	CONSTRAINT fk_tally_campaign_id FOREIGN KEY(campaign_id) REFERENCES campaign (id)
);
INSERT INTO "tally" VALUES(1,'reached','ok',2.0);
INSERT INTO "tally" VALUES(1,'reached','program_error',1.0);
INSERT INTO "tally" VALUES(1,'spent','grammar',0.0);
INSERT INTO "tally" VALUES(1,'proposed','grammar',2.0);
INSERT INTO "tally" VALUES(1,'measured','probe/held_out/0.0/ok',1.0);
INSERT INTO "tally" VALUES(1,'measured','probe/search/0.0/ok',2.0);
INSERT INTO "tally" VALUES(1,'measured','serve/search/0.0/ok',1.0);
INSERT INTO "tally" VALUES(1,'ran','probe/held_out/0.0',1.0);
INSERT INTO "tally" VALUES(1,'ran','probe/search/0.0',2.0);
INSERT INTO "tally" VALUES(1,'ran','serve/search/0.0',1.0);
INSERT INTO "tally" VALUES(1,'took','probe/held_out/0.0',0.25);
INSERT INTO "tally" VALUES(1,'took','probe/search/0.0',0.5);
INSERT INTO "tally" VALUES(1,'took','serve/search/0.0',0.25);
CREATE TABLE vortex_schema (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT vortex_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "vortex_schema" VALUES('0012');
CREATE TABLE workload (
	digest TEXT NOT NULL, 
	split TEXT NOT NULL, 
	definition JSON NOT NULL, 
	CONSTRAINT pk_workload PRIMARY KEY (digest)
);
INSERT INTO "workload" VALUES('21f80893b2d94031','search','{"stage": "probe", "num_tokens": 512, "num_sequences": 4, "split": "search", "repeats": 1, "lengths": [], "num_decoded": 0, "source": "", "ratio": 0.0}');
INSERT INTO "workload" VALUES('83504a3b29d413f0','held_out','{"stage": "probe", "num_tokens": 512, "num_sequences": 4, "split": "held_out", "repeats": 1, "lengths": [], "num_decoded": 0, "source": "", "ratio": 0.0}');
INSERT INTO "workload" VALUES('7450fa8d0ef489a6','search','{"stage": "serve", "num_tokens": 512, "num_sequences": 4, "split": "search", "repeats": 1, "lengths": [], "num_decoded": 0, "source": "", "ratio": 0.0}');
CREATE INDEX ix_candidate_program_digest ON candidate (program_digest);
CREATE INDEX ix_candidate_evaluation_evaluation_id ON candidate_evaluation (evaluation_id);
CREATE INDEX ix_standing_candidate_id ON standing (candidate_id);
CREATE INDEX ix_evaluation_answers ON evaluation (answers);
CREATE INDEX ix_remark_kind_text ON remark (kind, text);
CREATE INDEX ix_standing_section ON standing (workload, model_digest, environment_digest, evaluator_version, lengths, ratio, campaign_id, kl);
CREATE INDEX ix_standing_place ON standing (place);
CREATE INDEX ix_standing_campaign_id_place ON standing (campaign_id, place);
CREATE INDEX ix_standing_kl_place ON standing (kl, place) WHERE kl IS NOT NULL;
CREATE INDEX ix_standing_ratio_kl_place ON standing (ratio, kl, place) WHERE kl IS NOT NULL;
CREATE INDEX ix_standing_campaign_id_kl_place ON standing (campaign_id, kl, place) WHERE kl IS NOT NULL;
CREATE INDEX ix_standing_retrieval_loss_place ON standing (retrieval_loss, place) WHERE retrieval_loss IS NOT NULL;
CREATE INDEX ix_standing_ratio_retrieval_loss_place ON standing (ratio, retrieval_loss, place) WHERE retrieval_loss IS NOT NULL;
CREATE INDEX ix_standing_campaign_id_retrieval_loss_place ON standing (campaign_id, retrieval_loss, place) WHERE retrieval_loss IS NOT NULL;
CREATE INDEX ix_standing_accuracy_place ON standing (accuracy, place) WHERE accuracy IS NOT NULL;
CREATE INDEX ix_standing_ratio_accuracy_place ON standing (ratio, accuracy, place) WHERE accuracy IS NOT NULL;
CREATE INDEX ix_standing_campaign_id_accuracy_place ON standing (campaign_id, accuracy, place) WHERE accuracy IS NOT NULL;
CREATE INDEX ix_standing_recall_place ON standing (recall, place) WHERE recall IS NOT NULL;
CREATE INDEX ix_standing_ratio_recall_place ON standing (ratio, recall, place) WHERE recall IS NOT NULL;
CREATE INDEX ix_standing_campaign_id_recall_place ON standing (campaign_id, recall, place) WHERE recall IS NOT NULL;
CREATE INDEX ix_standing_speedup_place ON standing (speedup, place) WHERE speedup IS NOT NULL;
CREATE INDEX ix_standing_ratio_speedup_place ON standing (ratio, speedup, place) WHERE speedup IS NOT NULL;
CREATE INDEX ix_standing_campaign_id_speedup_place ON standing (campaign_id, speedup, place) WHERE speedup IS NOT NULL;
CREATE INDEX ix_standing_modelled_speedup_place ON standing (modelled_speedup, place) WHERE modelled_speedup IS NOT NULL;
CREATE INDEX ix_standing_ratio_modelled_speedup_place ON standing (ratio, modelled_speedup, place) WHERE modelled_speedup IS NOT NULL;
CREATE INDEX ix_standing_campaign_id_modelled_speedup_place ON standing (campaign_id, modelled_speedup, place) WHERE modelled_speedup IS NOT NULL;
CREATE INDEX ix_evaluation_lease_until ON evaluation (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX ix_question_campaign_id ON question (campaign_id);
COMMIT;
